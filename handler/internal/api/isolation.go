package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// isolate makes a consumer's own what backends recognise whoever sends it: the key of
// the prompt cache, and keys of repeated requests and sessions. With the same key two
// consumers would get one answer (docs/security.md#ids-have-owners).
func (s *Server) isolate(req *proxy.Request) {
	c := req.Consumer
	if c == nil {
		return
	}
	req.CacheKey = s.backendCacheKey(c, req.Parsed.PromptCacheKey)
	var header http.Header
	for name, values := range req.Header {
		if !request.IsSharedKey(name) {
			continue
		}
		if header == nil {
			header = maps.Clone(req.Header)
		}
		header[name] = make([]string, len(values))
		for i, value := range values {
			header[name][i] = uuid(s.ownSum(c, name, value))
		}
	}
	if header != nil {
		req.Header = header
	}
}

// backendCacheKey is the key of the prompt cache that the backend gets, so that the
// number of cached tokens shows nothing of others.
func (s *Server) backendCacheKey(c *consumer.Consumer, key string) string {
	const longest = 64
	if key == "" {
		return ""
	}
	prefix := s.ownSum(c, "prompt_cache_key", "")
	if prefixed := hex.EncodeToString(prefix[:8]) + "-" + key; len(prefixed) <= longest {
		return prefixed
	}
	whole := s.ownSum(c, "prompt_cache_key", key)
	return hex.EncodeToString(whole[:])
}

// ownSum is a number that only the gateway can work out, for a consumer's value of
// something.
func (s *Server) ownSum(c *consumer.Consumer, what, value string) (sum [sha256.Size]byte) {
	var secret []byte
	if s.Secret != nil {
		secret = s.Secret()
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(c.Name + "\x00" + what + "\x00" + value))
	mac.Sum(sum[:0])
	return sum
}

// uuid is a sum in the form that backends may insist on (RFC 9562, version 8).
func uuid(sum [sha256.Size]byte) string {
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
