"""VPC of the local cloud: reading VPCs and vSwitches."""
