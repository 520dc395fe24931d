variable "account" {
  type        = string
  description = "Uid of the account that the roles are created in: the one of the provider's credentials."

  validation {
    condition     = can(regex("^[0-9]{15,20}$", var.account))
    error_message = "15 to 20 digits."
  }
}

variable "home_account" {
  type        = string
  description = "Uid of the account that has the functions."

  validation {
    condition     = can(regex("^[0-9]{15,20}$", var.home_account))
    error_message = "15 to 20 digits."
  }
}

variable "deployment" {
  type        = string
  description = "The deployment of the policy file: part of the only tag that link-peer may write."
}

variable "prefix" {
  type        = string
  default     = "link-peer"
  description = "Prefix of the deployment's names in the home account (LINK_PEER_PREFIX)."
}

variable "tag_prefix" {
  type        = string
  default     = "link"
  description = "The first part of every tag key (LINK_PEER_TAG_PREFIX)."

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,15}$", var.tag_prefix))
    error_message = "1 to 16 of a-z and 0-9, beginning with a letter."
  }
}

variable "role_name" {
  type        = string
  default     = "link-peer"
  description = "Name of the role, as in the policy file. The reader's role has -reader after it."
}

variable "external_id" {
  type        = string
  sensitive   = true
  description = "The account's external id in the policy file, at least 16 characters."

  validation {
    condition     = length(var.external_id) >= 16
    error_message = "At least 16 characters."
  }
}
