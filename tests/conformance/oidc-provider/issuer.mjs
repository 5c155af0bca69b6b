// A second, foreign OpenID Connect issuer for limen's conformance tests: npm `oidc-provider` with its own login pages.
// node issuer.mjs PORT — prints "ready" when it listens on 127.0.0.1:PORT. New signing keys at each start.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const device = 'urn:ietf:params:oauth:grant-type:device_code';

const signingKey = (kind, options) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
  kid: randomBytes(6).toString('hex'),
  use: 'sig',
});

const client = (client_id, alg, extra = {}) => ({
  client_id,
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  redirect_uris: ['http://127.0.0.1/callback'],
  grant_types: ['authorization_code', 'refresh_token', device],
  response_types: ['code'],
  id_token_signed_response_alg: alg,
  ...extra,
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    client('limen-cli', 'ES256'),
    client('limen-rsa', 'RS256'),
    client('payroll', 'ES256'),
    client('shared-secret', 'HS256', { client_secret: randomBytes(32).toString('hex') }),
  ],
  jwks: { keys: [signingKey('ec', { namedCurve: 'P-256' }), signingKey('rsa', { modulusLength: 2048 })] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  enabledJWA: { idTokenSigningAlgValues: ['ES256', 'RS256', 'HS256'] },
  features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true } },
  pkce: { required: () => true },
  ttl: { IdToken: 3600, AccessToken: 3600, AuthorizationCode: 60, DeviceCode: 600, Interaction: 600, Session: 3600, Grant: 3600, RefreshToken: 3600 },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@foreign.example` }) }),
});

provider.listen(port, '127.0.0.1', () => console.log('ready'));
