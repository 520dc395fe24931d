# What `link-peer setup` creates, from the same files: the RAM documents, index, alerts and so on of deploy/.

locals {
  files  = "${path.module}/.."
  policy = yamldecode(file(var.policy_file))
  home   = one([for uid, account in local.policy.accounts : uid if try(account.role, "") == ""])
  peers  = [for uid, account in local.policy.accounts : account.role if try(account.role, "") != ""]

  project         = "${var.prefix}-${local.home}-${var.region}"
  audit_logstore  = "decisions"
  request_queue   = "${var.prefix}-requests"
  sweep_queue     = "${var.prefix}-sweeps"
  dead_letters    = "${var.prefix}-dead-letters"
  bound_queues    = compact([for uid, account in local.policy.accounts : try(account.queue, "")])
  dead_letter_arn = "acs:mns:${var.region}:${local.home}:/queues/${local.dead_letters}"
}

# Roles and policies

locals {
  # A list item that is a placeholder for ARNs becomes one item per name of a role: see permissions.md.
  peer_roles = sort(distinct([for arn in local.peers : "acs:ram::*:role/${element(split(":role/", arn), 1)}"]))

  placeholders = {
    LINK_PEER_REGION     = var.region
    LINK_PEER_PREFIX     = var.prefix
    LINK_PEER_TAG_PREFIX = var.tag_prefix
    HOME_ACCOUNT         = local.home
    DEPLOYMENT           = local.policy.deployment
    PEER_ROLE_ARNS       = join("\",\"", local.peer_roles)
    PEER_READER_ARNS     = join("\",\"", [for role in local.peer_roles : "${role}-reader"])
    OPERATOR_USERS       = join("\",\"", [for arn in sort(var.operators) : arn if strcontains(arn, ":user/")])
    OPERATOR_ROLES       = join("\",\"", [for arn in sort(var.operators) : arn if strcontains(arn, ":role/")])
    PEER_CLOSER_ARNS     = join("\",\"", [for role in local.peer_roles : "${role}-closer"])
  }

  policies = !var.roles ? {} : {
    "${var.prefix}-fc"       = "ram-function-role.json"
    "${var.prefix}-reader"   = "ram-operator-read.json"
    "${var.prefix}-operator" = "ram-operator.json"
  }

  roles = !var.roles ? {} : {
    "${var.prefix}-fc"     = { trust = "ram-function-role-trust.json", policies = ["${var.prefix}-fc"] }
    "${var.prefix}-reader" = { trust = "ram-reader-trust.json", policies = ["${var.prefix}-reader"] }
    "${var.prefix}-operator" = {
      trust    = "ram-operator-trust.json"
      policies = ["${var.prefix}-reader", "${var.prefix}-operator"]
    }
  }

  # Without operators, there is no such role.
  made   = { for name, role in local.roles : name => role if name != "${var.prefix}-operator" || length(var.operators) > 0 }
  trusts = { for name, role in local.made : name => jsondecode(templatefile("${local.files}/${role.trust}", local.placeholders)) }

  attachments = merge([
    for role, parts in local.made : { for policy in parts.policies : "${role}/${policy}" => { role = role, policy = policy } }
  ]...)

  documents = { for name, file in local.policies : name => jsondecode(templatefile("${local.files}/${file}", local.placeholders)) }

  # Home's own flow log, if the policy file names one.
  flow_log = [
    for place in compact([try(local.policy.accounts[local.home].flowlog, "")]) : {
      Effect   = "Allow"
      Action   = ["log:GetLogStoreLogs"]
      Resource = ["acs:log:*:${local.home}:project/${replace(place, "/", "/logstore/")}"]
    }
  ]

  # What decides which groups are in the policy's sets is denied to the roles that are denied consent.
  set_keys = sort(distinct(flatten([for set in values(try(local.policy.sets, {})) : keys(set.tags)])))
  set_denials = [
    for key in local.set_keys : {
      Effect    = "Deny"
      Action    = ["ecs:TagResources", "ecs:UntagResources"]
      Resource  = ["*"]
      Condition = { StringLike = { "acs:RequestTag/${key}" = ["*"] } }
    }
  ]
}

resource "alicloud_ram_policy" "this" {
  for_each = local.policies

  policy_name = each.key
  description = "link-peer"

  # Without other accounts, the statements about their roles are left out: a statement must name a resource.
  policy_document = jsonencode({
    Version = local.documents[each.key].Version
    Statement = concat(
      [for statement in local.documents[each.key].Statement : statement if !contains(statement.Resource, "")],
      [for denial in local.set_denials : denial if each.key != "${var.prefix}-reader"],
      [for statement in local.flow_log : statement if each.key == "${var.prefix}-reader"],
    )
  })

  rotate_strategy = "DeleteOldestNonDefaultVersionWhenLimitExceeded"

  lifecycle {
    precondition {
      condition     = length(jsonencode(local.documents[each.key])) <= 6144
      error_message = "Longer than RAM allows: the policy file names too many roles. Give the role one name in all accounts, or use link-peer setup, which splits the policy."
    }
  }
}

resource "alicloud_ram_role" "this" {
  for_each = local.trusts

  role_name   = each.key
  description = "link-peer"

  # A statement must name a principal.
  assume_role_policy_document = jsonencode({
    Version   = each.value.Version
    Statement = [for statement in each.value.Statement : statement if !contains(try(statement.Principal.RAM, []), "")]
  })
}

resource "alicloud_ram_role_policy_attachment" "this" {
  for_each = local.attachments

  role_name   = alicloud_ram_role.this[each.value.role].role_name
  policy_name = alicloud_ram_policy.this[each.value.policy].policy_name
  policy_type = "Custom"
}

# Queues

resource "alicloud_message_service_queue" "this" {
  for_each = toset(concat([local.dead_letters, local.request_queue, local.sweep_queue], local.bound_queues))

  queue_name               = each.key
  message_retention_period = 604800 # a week, the longest
  visibility_timeout       = 360    # longer than a function runs
}

# Logs

locals {
  logstores = {
    (local.audit_logstore)              = { days = 365, index = "sls-index.json" }
    "${local.audit_logstore}-operators" = { days = 365, index = "sls-index.json" }
    functions                           = { days = 30, index = "sls-index-functions.json" }
  }

  indexes = { for name, store in local.logstores : name => jsondecode(file("${local.files}/${store.index}")) }
}

resource "alicloud_log_project" "this" {
  project_name = local.project
  description  = "link-peer"

  lifecycle {
    prevent_destroy = true # the audit log is in it
  }
}

resource "alicloud_log_store" "this" {
  for_each = local.logstores

  project_name          = alicloud_log_project.this.project_name
  logstore_name         = each.key
  retention_period      = each.value.days
  auto_split            = true
  max_split_shard_count = 64

  lifecycle {
    prevent_destroy = true
  }
}

resource "alicloud_sls_index" "this" {
  for_each = local.indexes

  project_name  = alicloud_log_project.this.project_name
  logstore_name = alicloud_log_store.this[each.key].logstore_name
  keys          = jsonencode(each.value.keys)
  max_text_len  = try(each.value.max_text_len, null)

  line {
    token          = each.value.line.token
    case_sensitive = each.value.line.caseSensitive
    chn            = false
  }
}

locals {
  charts = yamldecode(file("${local.files}/dashboard.yaml"))
}

resource "alicloud_log_dashboard" "this" {
  project_name   = alicloud_log_project.this.project_name
  dashboard_name = "link-peer"
  display_name   = "link-peer"

  char_list = jsonencode([for number, chart in local.charts : {
    title  = "link-peer-${number}"
    type   = chart.type
    action = {}
    search = {
      logstore = alicloud_log_store.this[local.audit_logstore].logstore_name
      topic    = ""
      query    = replace(replace(chart.query, "{functions}", local.audit_logstore), "{operators}", "${local.audit_logstore}-operators")
      start    = chart.start
      end      = "now"
    }
    display = {
      displayName = chart.title
      xAxis       = can(chart.x) ? [chart.x] : []
      yAxis       = can(chart.y) ? [chart.y] : []
      xPos        = number % 2 * 10
      yPos        = floor(number / 2) * 8
      width       = 10
      height      = 8
    }
  }])
}

# Alerts

locals {
  alerts = { for rule in yamldecode(file("${local.files}/alerts.yaml")) : rule.name => rule if var.action_policy != "" }
}

resource "alicloud_sls_alert" "this" {
  for_each = local.alerts

  project_name = alicloud_log_project.this.project_name
  alert_name   = each.key
  display_name = each.key

  schedule {
    type     = "FixedRate"
    interval = "5m"
  }

  configuration {
    version          = "2.0"
    type             = "default"
    dashboard        = alicloud_log_dashboard.this.dashboard_name
    auto_annotation  = true
    send_resolved    = false
    threshold        = 1
    no_data_fire     = false
    no_data_severity = 6

    query_list {
      store_type     = "log"
      region         = var.region
      project        = alicloud_log_project.this.project_name
      store          = alicloud_sls_index.this[try(each.value.logstore, local.audit_logstore)].logstore_name
      query          = each.value.query
      time_span_type = "Relative"
      start          = "-${each.value.minutes}m"
      end            = "now"
      power_sql_mode = "auto"
    }

    group_configuration {
      type = "no_group"
    }

    severity_configurations {
      severity = each.value.severity

      eval_condition {
        condition       = each.value.when
        count_condition = ""
      }
    }

    annotations {
      key   = "title"
      value = each.key
    }

    annotations {
      key   = "desc"
      value = each.value.says
    }

    policy_configuration {
      alert_policy_id  = "sls.builtin.dynamic"
      action_policy_id = var.action_policy
      repeat_interval  = "4h"
    }
  }
}
