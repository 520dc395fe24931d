"""The checks of `link-peer doctor`. Each yields findings and changes nothing."""
