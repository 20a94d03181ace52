// Package usage is the tokens and the cost of one answer, and their sums.
//
// What a backend reports is taken as it is or not at all: a usage object with a
// number that is negative, malformed or absurd is refused as a whole, so that no
// answer can lower what its caller has used.
package usage

import "math"

// Tokens is what one answer used (docs/azure-openai.md#usage). Cached, CacheWrite
// and AudioInput are parts of Prompt, CacheWriteHour of CacheWrite, Reasoning and
// AudioOutput of Completion. The zero value is nothing.
type Tokens struct {
	Prompt      int64
	Cached      int64
	Completion  int64
	Reasoning   int64
	CacheWrite  int64
	AudioInput  int64
	AudioOutput int64
	Images      int64 // that were generated
	Seconds     int64 // of audio

	CacheWriteHour int64 // to a cache that is kept for an hour
}

// Add returns the sum of both. It saturates.
func (t Tokens) Add(o Tokens) Tokens {
	return Tokens{
		Prompt: add(t.Prompt, o.Prompt), Cached: add(t.Cached, o.Cached),
		Completion: add(t.Completion, o.Completion), Reasoning: add(t.Reasoning, o.Reasoning),
		CacheWrite: add(t.CacheWrite, o.CacheWrite), AudioInput: add(t.AudioInput, o.AudioInput), AudioOutput: add(t.AudioOutput, o.AudioOutput),
		Images: add(t.Images, o.Images), Seconds: add(t.Seconds, o.Seconds), CacheWriteHour: add(t.CacheWriteHour, o.CacheWriteHour),
	}
}

// Minus returns t without o. It may be less than nothing.
func (t Tokens) Minus(o Tokens) Tokens {
	return Tokens{
		Prompt: t.Prompt - o.Prompt, Cached: t.Cached - o.Cached, Completion: t.Completion - o.Completion, Reasoning: t.Reasoning - o.Reasoning,
		CacheWrite: t.CacheWrite - o.CacheWrite, AudioInput: t.AudioInput - o.AudioInput, AudioOutput: t.AudioOutput - o.AudioOutput,
		Images: t.Images - o.Images, Seconds: t.Seconds - o.Seconds, CacheWriteHour: t.CacheWriteHour - o.CacheWriteHour,
	}
}

// Total returns the prompt and the completion together. It saturates.
func (t Tokens) Total() int64 { return add(t.Prompt, t.Completion) }

// Sum returns the sum of all. It saturates.
func Sum(all ...Tokens) Tokens {
	var sum Tokens
	for _, t := range all {
		sum = sum.Add(t)
	}
	return sum
}

// add adds two numbers of which neither is far below zero.
func add(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
