// Package identity issues the tokens that deliveries carry, and publishes what
// is needed to verify them.
//
// OIDC tokens have the form of Google's own: RS256, issuer
// https://accounts.google.com, an hour of validity. They are signed with a key
// of this emulator, which is made at the first need and kept in the data
// folder, so verifiers must fetch the keys from here. OAuth access tokens are
// opaque and prove nothing.
package identity
