// A plugin of Serverless Devs that s.yaml runs before each function is deployed. It ends the description of the function and of
// its triggers with the time of the deploy and the package's digest, so that every deploy changes them.
//
// Function Compute refuses to publish a version when nothing changed, and to update an alias that already points at the version;
// and fc3 0.1.22 skips all triggers after the first that is unchanged. With the stamp, none of the three can happen: a deploy
// that died halfway is repeated as a whole, and so is one of the same package.
const { createHash } = require("crypto");
const { existsSync, readFileSync } = require("fs");
const { dirname, resolve } = require("path");

module.exports = async (inputs) => {
  const zip = resolve(dirname(inputs.yaml.path), inputs.props.code);
  if (!existsSync(zip)) throw new Error(`there is no ${inputs.props.code}: run \`make package\` first`);
  const digest = createHash("sha256").update(readFileSync(zip)).digest("hex").slice(0, 12);
  const stamp = `(deployed ${new Date().toISOString()}, package ${digest})`;
  for (const described of [inputs.props, ...inputs.props.triggers]) {
    described.description = [described.description, stamp].filter(Boolean).join(" ");
  }
  return inputs;
};
