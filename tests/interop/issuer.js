// An OpenID provider, of Node's `oidc-provider`: whoever comes is signed in under the name that he
// types. It knows one client, and takes its codes with PKCE alone.
//
//     NODE_PATH=.../node_modules node issuer.js PORT CLIENT SECRET BACK
"use strict";
const { generateKeyPairSync, randomBytes } = require("node:crypto");
const { pathToFileURL } = require("node:url");

async function main(port, client_id, client_secret, back) {
  const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{ client_id, client_secret, redirect_uris: [back] }],
    cookies: { keys: [randomBytes(32).toString("hex")] },
    jwks: { keys: [privateKey.export({ format: "jwk" })] },
    pkce: { methods: ["S256"], required: () => true },
  });
  provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
}

main(...process.argv.slice(2));
