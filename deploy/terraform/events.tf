# Only with event_rules: what invokes auto_link and cross_account, instead of the triggers of s.yaml.

locals {
  auto_link     = "${var.prefix}-auto-link"
  cross_account = "${var.prefix}-cross-account"
  alias         = "live" # moved by each deploy

  patterns = {
    instance-state = {
      source = ["acs.ecs"]
      type = [
        "ecs:Instance:StateChange", "ecs:Instance:VSwitchChanged",
        "ecs:NetworkInterface:PrivateIPAssigned", "ecs:NetworkInterface:PrivateIPUnassigned",
      ]
    }
    instance-tags = {
      source = ["acs.ecs"]
      type   = ["ecs:ActionTrail:ApiCall", "ecs:ActionTrail:ConsoleOperation"]
      data = { eventName = [
        "TagResources", "UntagResources", "AddTags", "RemoveTags", "JoinSecurityGroup", "LeaveSecurityGroup",
        "ModifyInstanceAttribute", "ModifyInstanceVpcAttribute", "ModifyNetworkInterfaceAttribute",
      ] }
    }
  }

  # Trigger name to queue, with the names that s.yaml gives the triggers.
  # Of more than eight queues of single accounts, none has a trigger of its own: a timer has the function read them all.
  own_queues = length(local.bound_queues) > 8
  streams    = merge({ requests = local.request_queue }, { for name in local.bound_queues : "requests-${name}" => name if !local.own_queues })
}

resource "alicloud_event_bridge_rule" "this" {
  for_each = { for name, pattern in local.patterns : name => pattern if var.event_rules }

  event_bus_name = "default"
  rule_name      = "${local.auto_link}-${each.key}"
  description    = "link-peer"
  filter_pattern = jsonencode(each.value)
  status         = "ENABLE"

  targets {
    target_id           = local.auto_link
    type                = "acs.fc.function"
    endpoint            = "acs:fc:${var.region}:${local.home}:functions/${local.auto_link}"
    push_retry_strategy = "EXPONENTIAL_DECAY_RETRY"

    param_list {
      resource_key = "functionName"
      form         = "CONSTANT"
      value        = local.auto_link
    }

    param_list {
      resource_key = "Qualifier"
      form         = "CONSTANT"
      value        = local.alias
    }

    param_list {
      resource_key = "InvocationType"
      form         = "CONSTANT"
      value        = "Async"
    }

    param_list {
      resource_key = "DataFormat"
      form         = "CONSTANT"
      value        = "Object"
    }

    param_list {
      resource_key = "Body"
      form         = "ORIGINAL"
    }
  }
}

resource "alicloud_fcv3_trigger" "this" {
  for_each   = { for name, queue in local.streams : name => queue if var.event_rules }
  depends_on = [alicloud_message_service_queue.this]

  function_name = local.cross_account
  qualifier     = local.alias
  trigger_name  = each.key
  trigger_type  = "eventbridge"

  trigger_config = jsonencode({
    triggerEnable          = true
    asyncInvocationType    = false
    eventRuleFilterPattern = "{}"
    eventSourceConfig = {
      eventSourceType = "MNS"
      eventSourceParameters = {
        sourceMNSParameters = { RegionId = var.region, QueueName = each.value, IsBase64Decode = true }
      }
    }
    eventSinkConfig = { deliveryOption = { mode = "event-streaming", eventSchema = "CloudEvents" } }
    runOptions = {
      mode            = "event-streaming"
      maximumTasks    = 3
      batchWindow     = { CountBasedWindow = 16, TimeBasedWindow = 0 }
      retryStrategy   = { PushRetryStrategy = "EXPONENTIAL_DECAY_RETRY" }
      errorsTolerance = "ALL"
      deadLetterQueue = { Arn = local.dead_letter_arn }
    }
  })
}

resource "alicloud_fcv3_trigger" "own_queues" {
  count = var.event_rules && local.own_queues ? 1 : 0

  function_name  = local.cross_account
  qualifier      = local.alias
  trigger_name   = "own-queues"
  trigger_type   = "timer"
  trigger_config = jsonencode({ cronExpression = "@every 1m", enable = true, payload = "own-queues" })
}
