// A plugin of Serverless Devs that s.yaml runs before each function is deployed. `link-peer package` puts it beside the package.
//
// It refuses a package that was built for another account, region, prefix or runtime than s.yaml deploys to, or that would replace
// another deployment's function: nobody would recognise that deployment's rules any more.
//
// Then it ends the description of the function and of its triggers with the time of the deploy and the package's digest, so that
// every deploy changes them. Function Compute refuses to publish a version when nothing changed, and to update an alias that
// already points at the version; and fc3 0.1.22 skips all triggers after the first that is unchanged. With the stamp, none of the
// three can happen: a deploy that died halfway is repeated as a whole, and so is one of the same package.
const { createHash, createHmac, randomUUID } = require("crypto");
const { existsSync, readFileSync } = require("fs");
const { dirname, join, resolve } = require("path");

const VERSION = "2023-03-30";
const sha256 = (data) => createHash("sha256").update(data).digest("hex");

module.exports = async (inputs) => {
  const zip = resolve(dirname(inputs.yaml.path), inputs.props.code);
  const description = join(dirname(zip), "package.json");
  if (!existsSync(zip) || !existsSync(description)) {
    throw new Error(`there is no ${inputs.props.code}: run \`link-peer package\` (in a checkout: \`make package\`) first`);
  }
  const built = JSON.parse(readFileSync(description, "utf8"));
  const digest = sha256(readFileSync(zip));
  if (digest !== built.sha256) throw new Error(`${inputs.props.code} is not the package that package.json describes: build it again`);
  const keys = await inputs.getCredential();
  compare(built, inputs.props, keys.AccountID);
  await compareDeployment(built, inputs.props, keys);
  const stamp = `(deployed ${new Date().toISOString()}, package ${digest.slice(0, 12)}, deployment ${built.deployment})`;
  for (const described of [inputs.props, ...inputs.props.triggers]) {
    described.description = [described.description, stamp].filter(Boolean).join(" ");
  }
  return inputs;
};

// What the package was built for, beside what it is deployed to. An empty value was not known when it was built.
const compare = (built, props, account) => {
  const pairs = [
    ["home account", built.home, String(account), "use keys of that account, or the policy file of this one"],
    ["region", built.region, props.region, "set LINK_PEER_REGION, then build the package again"],
    ["tag prefix", built.tag_prefix, props.environmentVariables.LINK_PEER_TAG_PREFIX, "set LINK_PEER_TAG_PREFIX"],
    ["runtime", built.runtime, props.runtime, "set LINK_PEER_RUNTIME, then build the package again"],
  ];
  for (const [what, wanted, found, advice] of pairs) {
    if (wanted && wanted !== found) {
      throw new Error(`the package is for the ${what} ${wanted}, and would be deployed to ${found}: ${advice}`);
    }
  }
  if (built.prefix && props.functionName.replace(/-(auto-link|cross-account|sweep)$/, "") !== built.prefix) {
    throw new Error(`the package is for the prefix ${built.prefix}, and the function is ${props.functionName}: set LINK_PEER_PREFIX`);
  }
};

const compareDeployment = async (built, props, keys) => {
  const found = await deployedFunction(props, keys);
  const other = /, deployment ([a-z0-9-]{1,32})\)$/.exec(found?.description ?? "")?.[1];
  if (other && other !== built.deployment) {
    throw new Error(
      `${props.functionName} runs the deployment ${other}, and the package is for ${built.deployment}: ` +
        "give this one a LINK_PEER_PREFIX of its own, or run `s remove` first after closing the links of the other",
    );
  }
};

// GetFunction of Function Compute 3.0: the function, or undefined if there is none.
const deployedFunction = async (props, keys) => {
  const endpoint =
    process.env.LINK_PEER_FC_ENDPOINT || process.env.LINK_PEER_CLOUD || `https://${keys.AccountID}.${props.region}.fc.aliyuncs.com`;
  const url = new URL(`/${VERSION}/functions/${props.functionName}`, endpoint);
  const answer = await fetch(url, { headers: signed(url, keys), signal: AbortSignal.timeout(30_000) });
  if (answer.status === 404) return undefined;
  if (!answer.ok) throw new Error(`${props.functionName} cannot be read (${answer.status}): ${await answer.text()}`);
  return answer.json();
};

// The headers of a GET without a body, signed with ACS3-HMAC-SHA256, as the official SDKs do.
const signed = (url, keys) => {
  const headers = {
    host: url.host,
    "x-acs-action": "GetFunction",
    "x-acs-content-sha256": sha256(""),
    "x-acs-date": new Date().toISOString().replace(/\.\d+Z$/, "Z"),
    "x-acs-signature-nonce": randomUUID(),
    "x-acs-version": VERSION,
  };
  if (keys.SecurityToken) headers["x-acs-security-token"] = keys.SecurityToken;
  const names = Object.keys(headers).sort();
  const canonical = ["GET", url.pathname, "", ...names.map((name) => `${name}:${headers[name]}`), "", names.join(";"), sha256("")];
  const signature = createHmac("sha256", keys.AccessKeySecret)
    .update(`ACS3-HMAC-SHA256\n${sha256(canonical.join("\n"))}`)
    .digest("hex");
  const credential = `Credential=${keys.AccessKeyID},SignedHeaders=${names.join(";")},Signature=${signature}`;
  return { ...headers, authorization: `ACS3-HMAC-SHA256 ${credential}` };
};
