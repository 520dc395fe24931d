"""Deploying: Serverless Devs, `setup`, roles, templates. A person must try each: they need, or create, a deployment."""

from __future__ import annotations

from link_peer_conformance.model import Section

section = Section("Deploying")

section.by_hand(
    88,
    why="needs an account without functions",
    assumed="An alias must exist before a trigger or an asynchronous configuration names it",
    depends="the order in s.yaml",
    test="first `s deploy -y` on an empty account",
    expected="exit code 0; every trigger has the qualifier `live`",
    cleanup="`s remove -y`",
)
section.by_hand(
    89,
    why="needs deployed functions",
    assumed="A changed description suffices to publish a version, and about 150 characters are accepted for functions and triggers",
    depends="`deploy/stamp.js`",
    test="`s deploy -y` twice; `s version list`",
    expected="two versions of each function",
    cleanup="`s remove -y`",
)
section.by_hand(
    90,
    why="needs deployed functions",
    assumed="UpdateTrigger may change only the description of an EventBridge trigger; the stream pauses at most",
    depends="every deploy updates every trigger",
    test="a second `s deploy -y` while requests are posted; `link-peer audit`",
    expected="exit code 0, and one outcome for each request",
    cleanup="`s remove -y`",
)
section.by_hand(
    91,
    why="needs deployed functions",
    assumed="`--version-id latest` takes the newest version",
    depends="the alias `live`",
    test="`s deploy -y`, then `s alias get --alias-name live`",
    expected="the highest version",
    cleanup="`s remove -y`",
)
section.by_hand(
    92,
    why="needs deployed functions",
    assumed="`--vw {}` takes the weights of other versions off an alias",
    depends="a deploy ends a trial",
    test="the trial in docs/deploy.md, then `s deploy -y`, `s alias get --alias-name live`",
    expected="no additional weight",
    cleanup="`s remove -y`",
)
section.by_hand(
    93,
    why="needs deployed functions",
    assumed="Calls of EventBridge follow an alias's weights and its asynchronous configuration",
    depends="a trial on a share of the events",
    test="a trial at 0.5, then twenty tag events; the version in the functions' logs",
    expected="both versions occur",
    cleanup="`s deploy -y`",
)
section.by_hand(
    94,
    why="needs deployed functions",
    assumed="`codeChecksum` is the zip's CRC-64, so that an unchanged package is not uploaded",
    depends="duration of a deploy",
    test="`s deploy -y --debug` twice with the same package",
    expected="`skip uploadCode`",
)
section.by_hand(
    95,
    why="only the console shows it",
    assumed="A function may have hundreds of versions",
    depends="each deploy publishes one, and none is deleted",
    test="Quota Center, product Function Compute",
    expected="a number; if it is small, say in docs/deploy.md when to delete",
)
section.by_hand(
    96,
    why="needs a new account",
    assumed="A service that is not activated refuses a harmless read with a code of its own; SLS may activate itself",
    depends="the words of `link-peer setup`; any refusal stops it with the page that activates the service",
    test="`link-peer setup --dry-run` on a new account",
    expected="each service that is not active is named, with its page",
)
section.by_hand(
    97,
    why="creates what `setup` creates",
    assumed="Users and action policies of SLS alerts are kept in cn-heyuan, `ResourceRecordNotExist` is the code of a missing one, and the script mails without a user group",
    depends="`setup --notify`",
    test="`link-peer setup --notify <address>`; stop the sweep for 30 minutes",
    expected="a mail: `link-peer-no-sweep`",
    cleanup="`link-peer setup --remove`",
)
section.by_hand(
    98,
    why="creates what `setup` creates",
    assumed="The record of a failed request has `hasFunctionError: true` and an `errorType`, which other records lack, and goes to the function's logstore",
    depends="the alert `link-peer-function-errors`, whose query takes either field",
    test="set a wrong `LINK_PEER_POLICY` in the sweep's environment; after its next run, search the logstore `functions` for `hasFunctionError: true or errorType: *`",
    expected="one record a run, topic `FCRequestMetrics:/<function>`; a mail within 10 minutes",
    cleanup="`s deploy -y`",
)
section.by_hand(
    99,
    why="creates what `setup` creates",
    assumed="GetIndex, GetDashboard, GetAlert and GetRole give back what was sent",
    depends="the second run changes nothing",
    test="`link-peer setup --notify <address>` twice",
    expected="the second says that nothing is to change",
    cleanup="`link-peer setup --remove`",
)
section.by_hand(
    101,
    why="creates what `setup` creates",
    assumed="A new log project is refused as `ProjectNotExist` for less than a minute, and GetProject answers so for a name that another customer owns",
    depends="how long `setup` waits; the text of an error",
    test="the first `link-peer setup`; `aliyunlog log get_project --project_name=<taken>`",
    expected="no failure; `ProjectNotExist`",
    cleanup="`link-peer setup --remove --with-logs`",
)
section.by_hand(
    102,
    why="needs the roles of a deployment",
    assumed="A RAM user may assume `link-peer-reader` for an hour, and that role may enter `<role>-reader` with the external id",
    depends="the commands of people",
    test="`link-peer account list`",
    expected="`assumed-role/link-peer-reader` at home, `assumed-role/<role>-reader` elsewhere",
)
section.by_hand(
    103,
    why="needs the roles of a deployment",
    assumed="The operator's role may take off one managed tag alone, and no other tag",
    depends="the managed tags",
    test="`aliyun ecs UntagResources $R --ResourceType securitygroup --ResourceId.1 $B --TagKey.1 link-managed.prod.<home>.instances`, then with `--TagKey.1 owner`",
    expected="success, then `Forbidden.RAM`",
)
section.by_hand(
    104,
    why="needs the roles of a deployment",
    assumed="The reader's role changes nothing",
    depends="the reader's role",
    test="with its keys: `aliyun ecs RevokeSecurityGroup $R --SecurityGroupId $B --SecurityGroupRuleId.1 sgr-gone`; `aliyun sts AssumeRole` of `<role>`",
    expected="`Forbidden.RAM`; `NoPermission`",
)
section.by_hand(
    105,
    why="needs the roles of a deployment",
    assumed="The resources in `ram-operator-read.json` are those that each service checks: `eventbus/default`, `eventstreaming/*`, `job/*` for alerts, functions without a resource level, records of SLS",
    depends="`doctor` as reader",
    test="`link-peer doctor` with keys that may only assume `link-peer-reader`",
    expected="no line is `unknown`",
)
section.by_hand(
    106,
    why="needs the roles of a deployment",
    assumed="A synchronous call with a qualifier is checked as `functions/<name>/<qualifier>`",
    depends="`invoke` as operator",
    test="`link-peer invoke sweep events/timer.json`",
    expected="the sweep's answer",
)
section.by_hand(
    107,
    why="needs the roles of a deployment",
    assumed="DeletePolicy answers `DeleteConflict.Policy.…` or `DeleteConflict.Role.Policy` while a role has the policy",
    depends="`setup --remove`",
    test="`aliyun ram DeletePolicy --PolicyName link-peer-fc`",
    expected="one of these codes",
)
section.by_hand(
    108,
    why="needs the roles of a second account",
    assumed="Deleting a role ends its sessions within seconds",
    depends="`account remove` looks for rules once more after it",
    test="`link-peer account remove <uid> --profile b`; `link-peer audit`",
    expected="the next event of that account is `no-access` or `unknown-account`",
)
section.by_hand(
    109,
    why="needs the roles of a second account",
    assumed="RAM accepts a trust policy that names roles which do not exist yet",
    depends="the order of home and other accounts",
    test="`terraform apply` in deploy/terraform/peer-account, or the ROS stack, before `link-peer setup`",
    expected="success",
    cleanup="delete the roles",
)
section.by_hand(
    110,
    why="needs deployed functions",
    assumed="ListAsyncTasks without a qualifier lists those of LATEST only",
    depends="nothing: `failed` asks for both",
    test="`aliyun fc GET /2023-03-30/functions/link-peer-sweep/async-tasks` with and without `qualifier=live`",
    expected="the timer's tasks with `live`",
)
section.by_hand(
    111,
    why="needs deployed functions",
    assumed="ListRules shows the rules of Function Compute's triggers on the bus `default`, enabled, with the function in the target's endpoint; GetRule shows the dead-letter queue",
    depends="`doctor`",
    test="`aliyun eventbridge ListRules --EventBusName default`; `aliyun eventbridge GetRule --EventBusName default --RuleName …`",
    expected="both rules of auto_link, `functions/<name>`, and an ARN that ends in the dead-letter queue",
)
section.by_hand(
    112,
    why="needs deployed functions",
    assumed="GetTrigger gives `triggerConfig` as JSON text with the pattern as sent",
    depends="`doctor`",
    test="`link-peer doctor`",
    expected="each trigger is `ok`, none `differs`",
)
section.by_hand(
    113,
    why="needs deployed functions",
    assumed="GetAlias answers `FunctionNotFound` and `AliasNotFound` with 404; GetRule answers `EventRuleNotExisted`",
    depends="`doctor`",
    test="`aliyun fc GET /2023-03-30/functions/none/aliases/live`, `…/link-peer-sweep/aliases/none`; `aliyun eventbridge GetRule --EventBusName default --RuleName none`",
    expected="these codes",
)
section.by_hand(
    114,
    why="needs a dead letter",
    assumed="EventBridge's own dead letters are JSON, in base64 or plain",
    depends="`failed`",
    test="`link-peer failed --json` after one",
    expected="a readable body",
    cleanup="delete the message",
)
section.by_hand(
    115,
    why="needs an account with FC 2.0",
    assumed="Serverless Devs 3.1.10 deploys edition 1.0.0 with the component `fc`, python3.10, cpu and 384 MB",
    depends="deploy/fc2",
    test="`s deploy -t deploy/fc2/s.yaml -y`; `link-peer invoke sweep events/timer.json --service link-peer`",
    expected="deployed; the sweep answers",
    cleanup="`s remove -t deploy/fc2/s.yaml -y`",
)
section.by_hand(
    118,
    why="creates resources by Terraform",
    assumed="The event target `acs.fc.function` accepts a function of FC 3.0 without `serviceName`, with an alias as `Qualifier`",
    depends="`event_rules` of deploy/terraform",
    test="set it and tag an instance; `link-peer audit`",
    expected="a record",
    cleanup="unset it",
)
section.by_hand(
    119,
    why="creates resources by Terraform",
    assumed="The provider plans the module without changes after an apply",
    depends="deploy/terraform",
    test="`terraform apply`; `terraform plan -detailed-exitcode`",
    expected="exit code 0",
    cleanup="`terraform destroy`",
)
section.by_hand(
    126,
    why="needs the roles of a deployment",
    assumed="TagResources takes a value with an ARN inside, and the operator may set and take off `link-lock` at home; DescribeSecurityGroups shows it at once",
    depends="`close` and `reopen`",
    test="`link-peer close sg-…` on a test group with a rule, then `link-peer reopen sg-…`, as a person who may only assume `link-peer-operator`",
    expected="exit code 0 both times, and `rules left: 0`",
    cleanup="delete the group",
)
section.by_hand(
    127,
    why="needs the roles of a second account",
    assumed="RAM refuses the peer role a lock",
    depends="consent and locks are the account's own",
    test="as role `link-peer` there: `aliyun ecs TagResources $R --ResourceType securitygroup --ResourceId.1 $B --Tag.1.Key link-lock --Tag.1.Value x`",
    expected="`Forbidden.RAM`",
)
section.by_hand(
    128,
    why="needs OOS and a chat",
    assumed="OOS accepts the approval template, `ACS::ExecuteAPI` sends the request to the queue in the form that the function reads, and a refused approval sends nothing",
    depends="deploy/oos/approve-link.yaml",
    test='`aliyun oos ValidateTemplateContent --RegionId cn-qingdao --Content "$(cat deploy/oos/approve-link.yaml)"`; start an execution and approve it, start another and refuse it; `link-peer audit`',
    expected="no error; an outcome for the first, no record for the second",
    cleanup="delete the template",
)
section.by_hand(
    129,
    why="needs a chat",
    assumed="The variables of the content template in deploy/notify/dingtalk.yaml resolve, `alert.annotations.desc` among them",
    depends="docs/notifications.md",
    test="make an alert fire",
    expected="a message with its text filled in",
)
section.by_hand(
    131,
    why="needs a resource directory",
    assumed="A service-managed stack group makes RAM roles in every account of a folder, and in each that joins it; a stack that fails changes nothing and stops no other",
    depends="`account add --stack-group`",
    test="the commands that it prints, for a folder with two accounts, in one of which a role `link-peer` exists; then move a third into the folder",
    expected="the roles are in the second and the third account, and as they were in the first",
    cleanup="DeleteStackInstances, DeleteStackGroup",
)
