// Stands in for the component fc3 0.1.22: the real CLI loads it and calls its commands. It records each call in $STUB_RECORD (a
// line of JSON), and keeps functions, versions, aliases and triggers in $STUB_STATE, by these rules of fc3 and Function Compute:
// - no trigger and no asynchronous configuration of an alias that does not exist;
// - `VersionPublishError: No changes were made since last publish`;
// - `Can not update alias without any change`;
// - fc3 skips every trigger after the first eventbridge trigger that is unchanged [src deploy/impl/trigger.ts].
// A deploy dies before it makes the trigger that $STUB_DIES_AT names.
const { appendFileSync, existsSync, readFileSync, writeFileSync } = require("fs");
const { join } = require("path");

const option = (args, name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);

const deployTriggers = (deployed, wanted) => {
  for (const trigger of wanted) {
    const text = JSON.stringify(trigger);
    if (deployed.triggers[trigger.triggerName] === text && trigger.triggerType === "eventbridge") return;
    if (!(trigger.qualifier in deployed.aliases)) throw new Error(`AliasNotFound: ${trigger.qualifier}`);
    if (process.env.STUB_DIES_AT === trigger.triggerName) throw new Error("died");
    deployed.triggers[trigger.triggerName] = text;
  }
};

const commands = {
  deploy(state, { props, args }) {
    const only = ["--function", "--trigger", "--async-invoke-config"].filter((part) => args.includes(part));
    const { triggers, asyncInvokeConfig, ...config } = props;
    const deployed = (state[props.functionName] ??= { config: "", changed: true, versions: [], aliases: {}, triggers: {} });
    if (!only.length || only.includes("--function")) {
      deployed.changed ||= deployed.config !== JSON.stringify(config);
      deployed.config = JSON.stringify(config);
    }
    if (!only.length || only.includes("--trigger")) {
      const names = option(args, "--trigger")?.split(",");
      deployTriggers(deployed, triggers.filter(({ triggerName }) => !names || names.includes(triggerName)));
    }
    if (!only.length && asyncInvokeConfig && !(asyncInvokeConfig.qualifier in deployed.aliases)) {
      throw new Error(`AliasNotFound: ${asyncInvokeConfig.qualifier}`);
    }
  },
  version(state, { props }) {
    const deployed = state[props.functionName];
    if (!deployed.changed) throw new Error("VersionPublishError: No changes were made since last publish");
    deployed.versions.push(deployed.config);
    deployed.changed = false;
  },
  alias(state, { props, args }) {
    const deployed = state[props.functionName];
    const named = option(args, "--version-id");
    const version = named === "latest" ? deployed.versions.length : Number(named);
    if (!deployed.versions[version - 1]) throw new Error(`VersionNotFound: ${named}`);
    const before = deployed.aliases[option(args, "--alias-name")];
    const weights = JSON.parse(option(args, "--vw") ?? JSON.stringify(before?.weights ?? {}));
    const alias = { version, weights };
    if (JSON.stringify(before) === JSON.stringify(alias)) throw new Error("Can not update alias without any change");
    deployed.aliases[option(args, "--alias-name")] = alias;
  },
  remove(state, { props }) {
    delete state[props.functionName];
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
    const { AccountID } = await inputs.getCredential();
    const call = { command, args: inputs.args, account: AccountID, resource: inputs.resource.name, props: inputs.props };
    appendFileSync(process.env.STUB_RECORD, JSON.stringify(call) + "\n");
    const path = process.env.STUB_STATE;
    const state = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
    try {
      run(state, inputs);
    } finally {
      writeFileSync(path, JSON.stringify(state));
    }
  };
}
