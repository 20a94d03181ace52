// Package entra checks the access tokens of Entra ID: that the tenant's issuer
// signed them, for us, and that they are valid now.
//
// # Why golang-jwt, and a key set of our own
//
// Three libraries were weighed. go-oidc fetches the keys again for every unknown
// key id, one fetch after the other, reads bodies without a bound and knows one
// issuer and one audience; only its claim checks would remain. jwx brings its
// own HTTP cache, codecs and a dozen modules for the one algorithm that Entra
// signs with. golang-jwt does what is easily done wrong (parsing, the algorithm
// allow-list ahead of any key, RSA, the instants with leeway), is in the build
// already through azidentity, and leaves the keys to its caller. And the keys
// are where an outage or a flood is survived: at most one refresh per five
// minutes for unknown key ids, one under way, bounded bodies, the last good keys
// kept for days (facts/reliability.md T15–T20, §3.4). None of the three has
// these rules, so they are here, in some two hundred lines.
//
// # What is accepted
//
// Signature: RS256 by a key of the issuer, found by kid; 2,048 to 8,192 bits,
// exponent 65537. Everything else that a header can say about keys (jku, x5u,
// jwk, x5c) is not read; crit is refused, so b64 is. Issuer: the tenant's, in the
// v1 and the v2 form. Audience: exactly one of those configured; for
// api://GUID the GUID as well, which is how v2 tokens write it. Instants: exp
// required, nbf and iat when present, five minutes of leeway. Application: azp
// or appid required, which ID tokens lack. Host keys and the headers of EasyAuth
// are no concern of this package, and nobody else's.
package entra
