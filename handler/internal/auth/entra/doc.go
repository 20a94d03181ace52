// Package entra verifies access tokens of Entra ID: that the tenant's issuer
// signed them, that they are for this service, and that they are valid now
// (docs/security.md#tokens). It does not know consumers.
//
// golang-jwt parses tokens and checks signatures and instants. The key set is
// in this package: it bounds what unknown key ids may cost and survives an
// outage of the issuer (docs/decisions.md#a-key-set-of-our-own-for-entra-id).
package entra
