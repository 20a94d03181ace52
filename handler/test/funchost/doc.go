// Package hosttest is a double of the Azure Functions host, as far as an HTTP
// custom handler can tell: it starts the handler out of a staged folder the way
// the host does, sends it callers' requests the way the host does, and restarts
// or kills it when the host would.
//
// What it imitates is facts/azure-functions-host.md §7, item by item; comments
// name the item as "D 26". It is stricter than a reverse proxy where the host is:
// a status line waits for the first byte of a body (D 26), a handler that answers
// before it has read its body may lose the answer (D 22), every failure before
// the first byte is a bare 500 (D 28, D 29) and every failure after it is an
// aborted connection.
//
// Where the host would fall back to its JSON envelope, which cannot stream, the
// double refuses to run and says why (D 14).
//
// It imports nothing of this module, so it cannot share its mistakes.
package funchost
