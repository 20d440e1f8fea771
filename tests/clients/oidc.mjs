// SPDX-License-Identifier: Apache-2.0
// An OpenID provider of npm (oidc-provider) over https, for tests/integration/49-oidc.py.
//   node oidc.mjs NODE_MODULES CERTIFICATE KEY PORT
// POST /rotate: a new signing key; the one before stays published, older ones go.  GET /kids: those published.
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, cert, key, port] = process.argv.slice(2);
const require = createRequire(join(modules, 'x.js'));
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);
const issuer = `https://127.0.0.1:${port}`;
let n = 0;

function fresh() {
  const rsa = n++ % 2 === 0; // in turn, so that each kind is met
  const { privateKey } = rsa ? generateKeyPairSync('rsa', { modulusLength: 2048 }) :
    generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: `k${n}`, alg: rsa ? 'RS256' : 'ES256', use: 'sig' };
}

let keys = [fresh(), fresh()]; // the first of each alg signs
let handler;

function provide() {
  const alg = keys[0].alg;
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'svc', client_secret: 'a secret of the test', grant_types: ['client_credentials'],
      redirect_uris: [], response_types: [] }],
    cookies: { keys: ['x'] },
    jwks: { keys },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:purser',
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: 'kv:write', audience: 'purser', accessTokenTTL: 300,
          accessTokenFormat: 'jwt', jwt: { sign: { alg } } }),
      },
    },
    extraTokenClaims: () => ({ project: 'shop' }),
  });
  handler = provider.callback();
}

provide();
createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (req, res) => {
  if (req.url === '/rotate' && req.method === 'POST') {
    keys = [fresh(), ...keys].slice(0, 3);
    provide();
    res.end(JSON.stringify(keys.map((k) => k.kid)));
  } else if (req.url === '/kids') {
    res.end(JSON.stringify(keys.map((k) => k.kid)));
  } else {
    handler(req, res);
  }
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
