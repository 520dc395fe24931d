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
  description = "Name of the role, as in the policy file. The reader's role has -reader after it, the closer's -closer."
}

variable "set_keys" {
  type        = list(string)
  default     = []
  description = "The keys of the policy's sets, sorted: the roles are denied these tags, too."
}

variable "flowlog" {
  type        = string
  default     = ""
  description = "The account's flowlog in the policy file, project/logstore, if it has one: its reader's role may read it."
}

variable "closers" {
  type        = list(string)
  default     = []
  description = "ARNs in the home account that may close links in this one, with MFA, such as the role <prefix>-operator. Without any, there is no closer role."

  validation {
    condition     = alltrue([for arn in var.closers : can(regex("^acs:ram::[0-9]{15,20}:(role|user)/[A-Za-z0-9._@-]+$", arn))])
    error_message = "Each is acs:ram::<uid>:role/<name> or acs:ram::<uid>:user/<name>: one principal, not a whole account."
  }
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
