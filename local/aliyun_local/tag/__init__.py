"""The Tag service of the local cloud: tags of ECS resources, by ARN."""
