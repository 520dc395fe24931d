// A plugin of Serverless Devs that s.yaml runs before each function is deployed. `link-peer package` puts it beside the package.
//
// It refuses a package that was built for another account, region, prefix or runtime than s.yaml deploys to, or that would replace
// another deployment's function: nobody would recognise that deployment's rules any more.
//
// Then it ends the description of the function and of its triggers with the time of the deploy and the package's digest, so that
// every deploy changes them. Function Compute refuses to publish a version when nothing changed, and to update an alias that
// already points at the version; and fc3 0.1.22 skips all triggers after the first that is unchanged. With the stamp, none of the
// three can happen: a deploy that died halfway is repeated as a whole, and so is one of the same package.
//
// The keys' session token is sent to Function Compute in the region alone, to loopback, or to the host that s.yaml names:
//   - plugin: ./build/stamp.js
//     args: {fc_host: fc.example.com}
const { createHash, createHmac, randomUUID } = require("crypto");
const { existsSync, readFileSync } = require("fs");
const http = require("http");
const https = require("https");
const { dirname, join, resolve } = require("path");
const tls = require("tls");

const VERSION = "2023-03-30";
const TIMEOUT_MS = 30_000;
const sha256 = (data) => createHash("sha256").update(data).digest("hex");

module.exports = async (inputs, args) => {
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
  await compareDeployment(built, inputs.props, keys, args?.fc_host);
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

const compareDeployment = async (built, props, keys, ownHost) => {
  const found = await deployedFunction(props, keys, ownHost);
  const other = /, deployment ([a-z0-9-]{1,32})\)$/.exec(found?.description ?? "")?.[1];
  if (other && other !== built.deployment) {
    throw new Error(
      `${props.functionName} runs the deployment ${other}, and the package is for ${built.deployment}: ` +
        "give this one a LINK_PEER_PREFIX of its own, or run `s remove` first after closing the links of the other",
    );
  }
};

// GetFunction of Function Compute 3.0: the function, or undefined if there is none.
const deployedFunction = async (props, keys, ownHost) => {
  const url = new URL(`/${VERSION}/functions/${props.functionName}`, endpoint(props.region, keys.AccountID, ownHost));
  const { status, text } = await get(url, signed(url, keys));
  const answer = parsed(text);
  if (status === 404 && answer.Code === "FunctionNotFound") return undefined;
  if (status === 200 && answer.functionName) return answer;
  throw new Error(`${props.functionName} cannot be read at ${url.host} (${status}): ${text.slice(0, 300)}`);
};

const parsed = (text) => {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
};

// Where Function Compute is asked. Only on loopback, or at the host of the option, may it be without TLS.
const endpoint = (region, account, ownHost) => {
  const hosts = [`${account}.${region}.fc.aliyuncs.com`, `${account}.${region}-internal.fc.aliyuncs.com`, `fcv3.${region}.aliyuncs.com`];
  const variable = ["LINK_PEER_FC_ENDPOINT", "LINK_PEER_CLOUD"].find((name) => process.env[name]);
  const text = variable ? process.env[variable] : hosts[0];
  const url = new URL(text.includes("://") ? text : `https://${text}`);
  const isTrusted = isLoopback(url.hostname) || (ownHost && url.hostname === ownHost);
  if (!isTrusted && (url.protocol !== "https:" || !hosts.includes(url.hostname))) {
    throw new Error(
      `${variable} names ${url.origin}, to which no keys are sent: it is neither https://${hosts[0]} nor loopback. ` +
        "If it is meant, give s.yaml's plugin ./build/stamp.js `args: {fc_host: " + url.hostname + "}`",
    );
  }
  return url;
};

const isLoopback = (host) => /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(host);

// The proxy that the environment names for a URL, or undefined: Node's own clients do not look there (Node.js 20, 22).
const proxyFor = (url) => {
  const value = (name) => process.env[name.toLowerCase()] || process.env[name] || "";
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const isExcepted = value("NO_PROXY")
    .split(/[\s,]+/)
    .filter(Boolean)
    .some((entry) => {
      const [, name, exceptedPort] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(entry);
      const isNamed = !name || url.hostname === name || url.hostname.endsWith(`.${name}`);
      return isNamed && (!exceptedPort || exceptedPort === port);
    });
  const text = value(url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY");
  if (!text || isExcepted || isLoopback(url.hostname)) return undefined;
  return new URL(text.includes("://") ? text : `http://${text}`);
};

const clientOf = ({ protocol }) => {
  if (protocol === "http:") return http;
  if (protocol === "https:") return https;
  throw new Error(`its protocol is ${protocol.slice(0, -1)}, not http or https`);
};

// The status and the text of the answer to a GET, through the proxy if there is one.
const get = async (url, headers) => {
  const proxy = proxyFor(url);
  try {
    if (!proxy) return await sent(clientOf(url), { host: bare(url), port: url.port, path: url.pathname, headers });
    const through = { host: bare(proxy), port: proxy.port, headers: authorization(proxy) };
    if (url.protocol === "http:") {
      return await sent(clientOf(proxy), { ...through, path: url.href, headers: { ...headers, ...through.headers } });
    }
    const socket = await tunnel(clientOf(proxy), through, `${url.hostname}:${url.port || 443}`);
    const createConnection = () => tls.connect({ socket, servername: url.hostname });
    return await sent(https, { host: url.hostname, port: url.port, path: url.pathname, headers, createConnection });
  } catch (error) {
    const way = proxy ? `through the proxy ${proxy.host}` : "without a proxy (HTTPS_PROXY and HTTP_PROXY name one)";
    throw new Error(`${url.host} cannot be reached ${way}: ${error.message || error.code}`);
  }
};

const bare = ({ hostname }) => hostname.replace(/^\[|\]$/g, "");

const authorization = ({ username, password }) => {
  const pair = [username, password].map(decodeURIComponent).join(":");
  return username ? { "proxy-authorization": `Basic ${Buffer.from(pair).toString("base64")}` } : {};
};

const sent = (client, options) =>
  new Promise((done, failed) => {
    const request = client.request({ ...options, timeout: TIMEOUT_MS }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => done({ status: answer.statusCode, text: Buffer.concat(parts).toString("utf8") }));
      answer.on("error", failed);
    });
    request.on("timeout", () => request.destroy(new Error("no answer in 30 seconds")));
    request.on("error", failed);
    request.end();
  });

// A connection to a host, which the proxy makes.
const tunnel = (client, options, target) =>
  new Promise((done, failed) => {
    const headers = { host: target, ...options.headers };
    const request = client.request({ ...options, headers, method: "CONNECT", path: target, timeout: TIMEOUT_MS });
    request.on("connect", (answer, socket) => {
      if (answer.statusCode === 200) return done(socket);
      socket.destroy();
      return failed(new Error(`the proxy answers ${answer.statusCode} ${answer.statusMessage}`));
    });
    request.on("timeout", () => request.destroy(new Error("no answer in 30 seconds")));
    request.on("error", failed);
    request.end();
  });

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
