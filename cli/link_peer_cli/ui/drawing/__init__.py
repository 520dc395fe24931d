"""The formats of `link-peer map`. Pure: values in, text out."""
