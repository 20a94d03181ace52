// Package e2e tries the whole program as its users do: the real binary, staged
// as it ships, started by a double of the Functions host, in front of the
// simulated service, asked by real SDKs. The tests are its only content.
package e2e
