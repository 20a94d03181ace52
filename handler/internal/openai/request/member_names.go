package request

import (
	"bytes"

	"spillway/handler/internal/openai/jsonscan"
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
	promptCacheKey
	previousResponseID
	conversation
	store
	background
	serviceTier
	user
	safetyIdentifier
	// What the model reads, from here on. Prompt caches go by the first five.
	messages
	input
	prompt
	instructions
	system
	tools
	functions
	responseFormat
	textFormat
	prediction
	suffix
	documents
	query
)

// textRequests are the members that only requests for text have.
const textRequests = 1<<messages | 1<<instructions | 1<<system | 1<<tools | 1<<functions | 1<<textFormat | 1<<prediction | 1<<suffix | 1<<previousResponseID | 1<<conversation

// maxNameLength is the most bytes that the name of a member can take:
// max_completion_tokens with each letter as a \uXXXX.
const maxNameLength = 6 * len("max_completion_tokens")

// nestedMember is a nested member that Spillway acts on.
type nestedMember uint8

// The nested members. The zero nestedMember is any other.
const (
	otherNested nestedMember = iota
	includeUsage
	ownID // of a conversation
)

// memberNamed is the member whose name is written as key.
func memberNamed(key []byte) member {
	m := memberByName(key)
	if m == other && bytes.IndexByte(key, '\\') >= 0 {
		var plain [maxNameLength]byte
		return memberByName(appendUnescaped(plain[:0], key))
	}
	return m
}

// memberByName is memberNamed for a key without escapes.
func memberByName(key []byte) member {
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
	case "system":
		return system
	case "tools":
		return tools
	}
	return stateMemberByName(key)
}

// stateMemberByName is memberByName for the members that concern stored state,
// and for the rest.
func stateMemberByName(key []byte) member {
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
	case "user":
		return user
	case "safety_identifier":
		return safetyIdentifier
	}
	return promptMemberByName(key)
}

// promptMemberByName is memberByName for the members that the model reads besides
// the prompt itself.
func promptMemberByName(key []byte) member {
	switch string(key) {
	case "functions":
		return functions
	case "response_format":
		return responseFormat
	case "text":
		return textFormat
	case "prediction":
		return prediction
	case "suffix":
		return suffix
	case "documents":
		return documents
	case "query":
		return query
	}
	return other
}

// nestedNamed is the nested member whose name is written as key.
func nestedNamed(key []byte) nestedMember {
	p := nestedByName(key)
	if p == otherNested && bytes.IndexByte(key, '\\') >= 0 {
		var plain [maxNameLength]byte
		return nestedByName(appendUnescaped(plain[:0], key))
	}
	return p
}

// nestedByName is nestedNamed for a key without escapes.
func nestedByName(key []byte) nestedMember {
	switch string(key) {
	case "include_usage":
		return includeUsage
	case "id":
		return ownID
	}
	return otherNested
}

// appendUnescaped appends to dst the name that is written as key, or nothing when
// it is too long to be one of those above.
func appendUnescaped(dst, key []byte) []byte {
	if len(key) > maxNameLength {
		return dst
	}
	return jsonscan.AppendUnquoted(dst, key)
}
