# The roles of another account that link-peer enters, from the same files as `link-peer account add`.

locals {
  files = "${path.module}/../.."

  placeholders = {
    LINK_PEER_PREFIX     = var.prefix
    LINK_PEER_TAG_PREFIX = var.tag_prefix
    HOME_ACCOUNT         = var.home_account
    PEER_ACCOUNT         = var.account
    DEPLOYMENT           = var.deployment
    EXTERNAL_ID          = var.external_id
    CLOSER_ARNS          = join("\",\"", var.closers)
  }

  # What decides which groups are in the policy's sets is denied to the roles that are denied consent.
  set_denials = [
    for key in var.set_keys : {
      Effect    = "Deny"
      Action    = ["ecs:TagResources", "ecs:UntagResources"]
      Resource  = ["*"]
      Condition = { StringLike = { "acs:RequestTag/${key}" = ["*"] } }
    }
  ]

  flow_log = [
    for place in compact([var.flowlog]) : {
      Effect   = "Allow"
      Action   = ["log:GetLogStoreLogs"]
      Resource = ["acs:log:*:${var.account}:project/${replace(place, "/", "/logstore/")}"]
    }
  ]

  # Each role has one policy of its own name.
  roles = merge(
    {
      (var.role_name)           = { trust = "ram-peer-role-trust.json", policy = "ram-peer-role.json" }
      "${var.role_name}-reader" = { trust = "ram-peer-reader-trust.json", policy = "ram-peer-reader.json" }
    },
    length(var.closers) == 0 ? {} : {
      "${var.role_name}-closer" = { trust = "ram-peer-closer-trust.json", policy = "ram-peer-closer.json" }
    },
  )
}

resource "alicloud_ram_policy" "this" {
  for_each = local.roles

  policy_name = each.key
  description = "link-peer"

  policy_document = jsonencode({
    Version = "1"
    Statement = concat(
      jsondecode(templatefile("${local.files}/${each.value.policy}", local.placeholders)).Statement,
      [for denial in local.set_denials : denial if each.value.policy != "ram-peer-reader.json"],
      [for statement in local.flow_log : statement if each.value.policy == "ram-peer-reader.json"],
    )
  })

  rotate_strategy = "DeleteOldestNonDefaultVersionWhenLimitExceeded"
}

resource "alicloud_ram_role" "this" {
  for_each = local.roles

  role_name                   = each.key
  description                 = "link-peer"
  assume_role_policy_document = templatefile("${local.files}/${each.value.trust}", local.placeholders)
}

resource "alicloud_ram_role_policy_attachment" "this" {
  for_each = local.roles

  role_name   = alicloud_ram_role.this[each.key].role_name
  policy_name = alicloud_ram_policy.this[each.key].policy_name
  policy_type = "Custom"
}
