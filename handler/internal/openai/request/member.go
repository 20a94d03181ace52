package request

import (
	"bytes"

	"spillway/handler/internal/openai/request/walk"
)

// member is a top-level member that Spillway acts on.
type member uint8

// The members. The zero member is any other.
const (
	other member = iota
	model
	stream
	streamOptions
	maxTokens
	maxCompletionTokens
	maxOutputTokens
	choices
	bestOf
	messages
	input
	prompt
	instructions
	tools
	promptCacheKey
	previousResponseID
	conversation
	store
	background
	serviceTier
)

// longest is the most bytes that the name of a member can be written with:
// max_completion_tokens, each letter as a \uXXXX.
const longest = 6 * len("max_completion_tokens")

// part is a nested member that Spillway acts on.
type part uint8

// The parts. The zero part is any other.
const (
	otherPart part = iota
	includeUsage
	ownID // of a conversation or an item
	itemType
	itemRole
	encryptedContent
	parts // how many there are
)

// named is the member whose name is written as key.
func named(key []byte) member {
	m := plainlyNamed(key)
	if m == other && bytes.IndexByte(key, '\\') >= 0 {
		var plain [longest]byte
		return plainlyNamed(unescaped(plain[:0], key))
	}
	return m
}

// plainlyNamed is named for a key without escapes.
func plainlyNamed(key []byte) member {
	switch string(key) {
	case "model":
		return model
	case "stream":
		return stream
	case "stream_options":
		return streamOptions
	case "max_tokens":
		return maxTokens
	case "max_completion_tokens":
		return maxCompletionTokens
	case "max_output_tokens":
		return maxOutputTokens
	case "n":
		return choices
	case "best_of":
		return bestOf
	case "messages":
		return messages
	case "input":
		return input
	case "prompt":
		return prompt
	case "instructions":
		return instructions
	case "tools":
		return tools
	}
	return stateNamed(key)
}

// stateNamed is plainlyNamed for the members that say where state lives.
func stateNamed(key []byte) member {
	switch string(key) {
	case "prompt_cache_key":
		return promptCacheKey
	case "previous_response_id":
		return previousResponseID
	case "conversation":
		return conversation
	case "store":
		return store
	case "background":
		return background
	case "service_tier":
		return serviceTier
	}
	return other
}

// nested is the part whose name is written as key.
func nested(key []byte) part {
	p := plainlyNested(key)
	if p == otherPart && bytes.IndexByte(key, '\\') >= 0 {
		var plain [longest]byte
		return plainlyNested(unescaped(plain[:0], key))
	}
	return p
}

// plainlyNested is nested for a key without escapes.
func plainlyNested(key []byte) part {
	switch string(key) {
	case "include_usage":
		return includeUsage
	case "id":
		return ownID
	case "type":
		return itemType
	case "role":
		return itemRole
	case "encrypted_content":
		return encryptedContent
	}
	return otherPart
}

// unescaped appends to dst the name that is written as key, or nothing when it
// is too long to be one of ours.
func unescaped(dst, key []byte) []byte {
	if len(key) > longest {
		return dst
	}
	return walk.AppendUnquoted(dst, key)
}
