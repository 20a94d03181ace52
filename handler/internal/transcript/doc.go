// Package transcript keeps full requests and answers of the consumers that are
// configured so, as blobs: YYYY/MM/DD/HH/CONSUMER/REQUEST-ID.request and
// .answer, whatever their length, byte by byte as they came in and went out
// unless there are patterns to redact.
//
// Nothing of it is on the request's way: what is said is copied into memory and
// written beside the requests. When the container cannot keep up, and more than
// [Config.Budget] waits, whole transcripts are given up and counted; a part of
// one is never shown as if it were all of it. A process that is killed loses
// what it had not written.
//
// # Redaction
//
// Each match of a pattern is replaced by "[redacted]". Patterns see bytes as
// they are on the wire, so they see JSON's escapes, and matches of up to 64 KiB.
// A stream says a word in several events, where no pattern could see it: with
// patterns, what is kept of a stream is not its events but the texts that they
// add up to, as JSON.
//
// How long transcripts are kept is for a lifecycle rule of the storage account.
package transcript
