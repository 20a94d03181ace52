package simulator

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// guid is the n-th identifier of the request with this number: the same for
// the same seed.
func (s *Service) guid(seq, n uint64) string {
	r := rand.NewPCG(s.cfg.Seed^seq, n)
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, (a>>16)&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
}

// identifier is a longer id of the request, as in chatcmpl-… and resp_….
func (s *Service) identifier(prefix string, seq, n uint64) string {
	r := rand.NewPCG(s.cfg.Seed^seq, n^0x1d)
	var raw [24]byte
	for i := range raw {
		raw[i] = byte(r.Uint64())
	}
	return prefix + hex.EncodeToString(raw[:])
}

// normal is a standard normal value, the same for the same seed and place.
func (s *Service) normal(seq uint64, i int) float64 {
	r := rand.New(rand.NewPCG(s.cfg.Seed^seq, uint64(i)^0x7177e4))
	return math.Max(-3, math.Min(3, r.NormFloat64()))
}

var vocabulary = strings.Fields(`water runs over the edge when a basin is full and finds its own way down to the next one
every stone it passes keeps a little of the cold so that by evening the lower pool is calm clear and deep enough
to hold whatever the mountain sends it in spring while birds drink from both without asking which is which`)

// textTokens is the text of one answer as tokens: the deployment's own, or
// seeded words. The same prompt has the same answer.
func (c *call) textTokens(index, limit int) []string {
	if c.spec.Answer != "" {
		return cutTokens(c.spec.Answer, limit)
	}
	count := min(limit, c.spec.defaultOutputTokens())
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.prompt))
	seed := c.svc.cfg.Seed
	if c.request.Seed != nil {
		seed ^= uint64(*c.request.Seed)
	}
	r := rand.NewPCG(seed^h.Sum64(), uint64(index))
	tokens := make([]string, count)
	for i := range tokens {
		word := vocabulary[r.Uint64()%uint64(len(vocabulary))]
		if i > 0 {
			word = " " + word
		}
		tokens[i] = word
	}
	return tokens
}

// cutTokens cuts a text into tokens of about four characters, never within a
// rune, at most limit of them.
func cutTokens(text string, limit int) []string {
	var tokens []string
	for len(text) > 0 && len(tokens) < limit {
		end := min(charsPerToken, len(text))
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end++
		}
		tokens = append(tokens, text[:end])
		text = text[end:]
	}
	return tokens
}
