// Stands in for the component fc3 0.1.22: the real CLI loads it and calls its commands. As fc3 does, it deploys with Function
// Compute's own SDK: to the local cloud that $LINK_PEER_CLOUD names, which refuses what Function Compute refuses. It records each
// call in $STUB_RECORD (a line of JSON). Of fc3 itself it keeps [src]:
// - roles are completed and converted to lower case, and what s.yaml leaves out is reset (base.ts, default/config.ts);
// - the service-linked roles of the triggers' sources are created first (base.ts);
// - every trigger after the first eventbridge trigger that is unchanged is skipped (deploy/impl/trigger.ts);
// - `remove` deletes settings, triggers, aliases, versions and the function, in this order (remove/index.ts).
// The package is sent with the call, where fc3 puts it into a bucket of OSS. A deploy dies before it makes the trigger that
// $STUB_DIES_AT names.
const FC = require("@alicloud/fc20230330");
const { $OpenApiUtil } = require("@alicloud/openapi-core");
const { RuntimeOptions } = require("@darabonba/typescript");
const { appendFileSync, readFileSync } = require("fs");
const { dirname, join, resolve } = require("path");
const { isDeepStrictEqual } = require("util");

const DEFAULTS = { description: "", memorySize: 512, timeout: 3 };
const EMPTY = {
  environmentVariables: {},
  layers: [],
  logConfig: { enableInstanceMetrics: false, enableRequestMetrics: false, logBeginRule: "None", logstore: "", project: "" },
  nasConfig: { groupId: 0, userId: 0, mountPoints: [] },
  ossMountConfig: { mountPoints: [] },
  vpcConfig: { securityGroupId: "", vSwitchIds: [], vpcId: "" },
};
const ROLE = "AliyunServiceRoleForEventBridge";
const LINKED = { Default: ["SourceCMS", "SourceActionTrail"], MNS: ["SendToMNS"] };

const option = (args, name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);

// The answer, or undefined where there is nothing of the name.
const found = (reading) =>
  reading.then(
    ({ body }) => body,
    (error) => {
      if (error.statusCode === 404) return undefined;
      throw error;
    },
  );

const createLinkedRoles = async (client, triggers) => {
  const types = triggers.filter((each) => each.triggerType === "eventbridge").map((each) => each.triggerConfig.eventSourceConfig.eventSourceType);
  for (const name of new Set(types.flatMap((type) => ["SendToFC", ...LINKED[type]]))) {
    const params = { action: "CreateServiceLinkedRoleForProduct", version: "2020-04-01", protocol: "HTTP", method: "POST", authType: "AK", style: "RPC", pathname: "/", reqBodyType: "formData", bodyType: "json" };
    const request = new $OpenApiUtil.OpenApiRequest({ query: { ProductName: ROLE + name } });
    await client.callApi(new $OpenApiUtil.Params(params), request, new RuntimeOptions({})).catch((error) => {
      if (error.statusCode !== 409) throw error;
    });
  }
};

const deployFunction = async (client, { props, yaml }) => {
  const { region, triggers, asyncInvokeConfig, ...config } = { ...EMPTY, ...DEFAULTS, ...props };
  config.code = new FC.InputCodeLocation({ zipFile: readFileSync(resolve(dirname(yaml.path), props.code)).toString("base64") });
  config.logConfig = new FC.LogConfig(config.logConfig);
  if (await found(client.getFunction(props.functionName, new FC.GetFunctionRequest({})))) {
    await client.updateFunction(props.functionName, new FC.UpdateFunctionRequest({ body: new FC.UpdateFunctionInput(config) }));
  } else {
    await client.createFunction(new FC.CreateFunctionRequest({ body: new FC.CreateFunctionInput(config) }));
  }
};

const deployTriggers = async (client, name, wanted) => {
  const remote = await Promise.all(wanted.map(({ triggerName }) => found(client.getTrigger(name, triggerName))));
  for (const [index, given] of wanted.entries()) {
    const trigger = { qualifier: "LATEST", description: "", ...given };
    const { triggerType, qualifier, description, triggerConfig } = remote[index] ?? {};
    const is = { triggerName: trigger.triggerName, triggerType, qualifier, description, triggerConfig: triggerConfig && JSON.parse(triggerConfig) };
    if (isDeepStrictEqual(is, trigger) && triggerType === "eventbridge") return;
    if (process.env.STUB_DIES_AT === trigger.triggerName) throw new Error("died");
    const body = { ...trigger, triggerConfig: JSON.stringify(trigger.triggerConfig) };
    if (remote[index]) {
      await client.updateTrigger(name, trigger.triggerName, new FC.UpdateTriggerRequest({ body: new FC.UpdateTriggerInput(body) }));
    } else {
      await client.createTrigger(name, new FC.CreateTriggerRequest({ body: new FC.CreateTriggerInput(body) }));
    }
  }
};

const putAsyncInvokeConfig = async (client, name, { qualifier = "LATEST", ...settings }) => {
  const { onFailure } = settings.destinationConfig ?? {};
  const destinationConfig = new FC.DestinationConfig({ onFailure: onFailure && new FC.Destination(onFailure) });
  const body = new FC.PutAsyncInvokeConfigInput({ ...settings, destinationConfig });
  await client.putAsyncInvokeConfig(name, new FC.PutAsyncInvokeConfigRequest({ qualifier, body }));
};

const versions = async (client, name) =>
  (await client.listFunctionVersions(name, new FC.ListFunctionVersionsRequest({ limit: 100 }))).body.versions;

const commands = {
  async deploy(client, inputs) {
    const { props, args } = inputs;
    const only = ["--function", "--trigger", "--async-invoke-config"].filter((part) => args.includes(part));
    if (!only.length || only.includes("--function")) await deployFunction(client, inputs);
    if (!only.length || only.includes("--trigger")) {
      const names = option(args, "--trigger")?.split(",");
      const wanted = (props.triggers ?? []).filter(({ triggerName }) => !names || names.includes(triggerName));
      await deployTriggers(client, props.functionName, wanted);
    }
    if ((!only.length || only.includes("--async-invoke-config")) && props.asyncInvokeConfig) {
      await putAsyncInvokeConfig(client, props.functionName, props.asyncInvokeConfig);
    }
  },
  async version(client, { props }) {
    const body = new FC.PublishVersionInput({ description: "" });
    await client.publishFunctionVersion(props.functionName, new FC.PublishFunctionVersionRequest({ body }));
  },
  async alias(client, { props, args }) {
    const [aliasName, named, weights] = ["--alias-name", "--version-id", "--vw"].map((name) => option(args, name));
    const versionId = named === "latest" ? (await versions(client, props.functionName))[0].versionId : named;
    const config = { aliasName, versionId, additionalVersionWeight: weights && JSON.parse(weights) };
    if (await found(client.getAlias(props.functionName, aliasName))) {
      await client.updateAlias(props.functionName, aliasName, new FC.UpdateAliasRequest({ body: new FC.UpdateAliasInput(config) }));
    } else {
      await client.createAlias(props.functionName, new FC.CreateAliasRequest({ body: new FC.CreateAliasInput(config) }));
    }
  },
  async remove(client, { props: { functionName, asyncInvokeConfig } }) {
    if (asyncInvokeConfig) {
      const { qualifier } = asyncInvokeConfig;
      await found(client.deleteAsyncInvokeConfig(functionName, new FC.DeleteAsyncInvokeConfigRequest({ qualifier })));
    }
    const { triggers } = (await client.listTriggers(functionName, new FC.ListTriggersRequest({ limit: 100 }))).body;
    for (const { triggerName } of triggers) await client.deleteTrigger(functionName, triggerName);
    const { aliases } = (await client.listAliases(functionName, new FC.ListAliasesRequest({ limit: 100 }))).body;
    for (const { aliasName } of aliases) await client.deleteAlias(functionName, aliasName);
    for (const { versionId } of await versions(client, functionName)) await client.deleteFunctionVersion(functionName, versionId);
    await client.deleteFunction(functionName);
  },
};

module.exports = class Stub {
  constructor() {
    this.commands = Object.fromEntries(Object.keys(commands).map((name) => [name, {}]));
  }

  getSchema() {
    return readFileSync(join(__dirname, "schema.json"), "utf8"); // for `s verify`; the test writes it
  }
};

for (const [command, run] of Object.entries(commands)) {
  module.exports.prototype[command] = async (inputs) => {
    const { AccountID, AccessKeyID, AccessKeySecret } = await inputs.getCredential();
    const { args, resource, props } = inputs;
    appendFileSync(process.env.STUB_RECORD, JSON.stringify({ command, args, account: AccountID, resource: resource.name, props }) + "\n");
    const { host } = new URL(process.env.LINK_PEER_CLOUD);
    const keys = { accessKeyId: AccessKeyID, accessKeySecret: AccessKeySecret };
    const patience = { connectTimeout: 60000, readTimeout: 60000 }; // as in fc3
    const client = new FC.default(new $OpenApiUtil.Config({ ...keys, ...patience, endpoint: host, protocol: "HTTP", regionId: props.region }));
    const role = props.role && (props.role.startsWith("acs:ram::") ? props.role : `acs:ram::${AccountID}:role/${props.role}`);
    if (command !== "remove") await createLinkedRoles(client, props.triggers ?? []);
    await run(client, { ...inputs, props: { ...props, role: role?.toLowerCase() } });
  };
}
