// Package transcript stores the whole requests and responses of the consumers
// that are configured so, as blobs: YYYY/MM/DD/HH/CONSUMER/REQUEST-ID.request and
// .answer. Without patterns to redact they are byte-exact.
//
// Requests never wait for it: bytes are copied into memory and written in the
// background. When more than [Config.Budget] is buffered, whole blobs are dropped
// and counted; a blob is never stored in part. A process that is killed loses
// what it has not written.
//
// # Redaction
//
// Each match of a pattern is replaced by "[redacted]". Patterns are matched on the
// bytes as sent, with JSON's escapes, and find matches of up to 64 KiB. The events
// of a stream split words, so with patterns the texts of a stream are stored
// instead of its events, joined, as JSON.
//
// A lifecycle rule of the storage account deletes old transcripts.
package transcript
