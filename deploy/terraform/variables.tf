variable "region" {
  type        = string
  description = "Region of the functions, queues and log project; the provider's region must be the same."
}

variable "policy_file" {
  type        = string
  description = "Path of the policy file: its deployment, accounts, roles and queues are used."
}

variable "prefix" {
  type        = string
  default     = "link-peer"
  description = "What every name of this deployment begins with (LINK_PEER_PREFIX)."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.prefix))
    error_message = "2 to 20 of a-z, 0-9 and -, beginning with a letter."
  }
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

variable "operators" {
  type        = list(string)
  default     = []
  description = "ARNs of the RAM users and roles that may operate; users with MFA. Without any, there is no operator role."

  validation {
    condition     = alltrue([for arn in var.operators : can(regex("^acs:ram::[0-9]{15,20}:(role|user)/[A-Za-z0-9._@-]+$", arn))])
    error_message = "Each is acs:ram::<uid>:role/<name> or acs:ram::<uid>:user/<name>: one principal, not a whole account."
  }
}

variable "action_policy" {
  type        = string
  default     = ""
  description = "Id of an action policy of SLS that exists: whom the alerts notify. Empty: no alerts are created."
}

variable "event_rules" {
  type        = bool
  default     = false
  description = "Create EventBridge rules, and event streams from the queues, instead of the triggers of s.yaml. The functions must be deployed."
}

variable "roles" {
  type        = bool
  default     = true
  description = "Create the roles and policies, which are the same in all regions. false in every region of a deployment but one."
}
