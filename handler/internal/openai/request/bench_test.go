package request

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/openai/jsonscan"
)

// bodies are requests of the sizes and shapes that the gateway sees most.
func bodies() map[string][]byte {
	const head = `{"messages":[`
	const tail = `],"model":"gpt-4o","max_completion_tokens":800,"stream":true,"temperature":0.2,"stream_options":{"include_usage":true}}`
	message := func(role, text string) string {
		return fmt.Sprintf(`{"role":%q,"content":%q}`, role, text)
	}
	prose := strings.Repeat("The quick brown fox jumps over the lazy dog, and then it sleeps. ", 1+100<<10/65)
	var agent []string
	for i := range 850 {
		agent = append(agent, fmt.Sprintf(`{"role":"tool","tool_call_id":"call_%06d","content":"{\"path\":\"src/a.go\",\"line\":%d,\"ok\":true}"}`, i, i))
	}
	image := bytes.Repeat([]byte("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9Q"), 1<<20/64)
	return map[string][]byte{
		"1KB":         []byte(head + message("system", prose[:120]) + "," + message("user", prose[:700]) + tail),
		"100KB-text":  []byte(head + message("user", prose[:100<<10]) + tail),
		"100KB-agent": []byte(head + strings.Join(agent, ",") + tail),
		"1MB-image":   []byte(head + `{"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + string(image) + `"}}]}` + tail),
		"100KB-CJK":   []byte(head + message("user", strings.Repeat("敏捷的棕色狐狸跳过懒狗。", 100<<10/36)) + tail),
	}
}

func BenchmarkParse(b *testing.B) {
	for name, body := range bodies() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := Parse(body)
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParseReferences is the cost of the check for ids, without any, with one
// and with as many as a request may name, against the same pass without it. Both take
// turns, and the median of each is reported.
func BenchmarkParseReferences(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		for _, ids := range []int{0, 1, 64} {
			body := bodyWithIDs(size, ids)
			b.Run(fmt.Sprintf("%dKB-%d", size, ids), func(b *testing.B) {
				parser := new(Parser)
				parse := func() {
					if parsed, err := parser.Parse(body); err != nil || len(parsed.References) != ids {
						b.Fatal(err)
					}
				}
				var without, with []time.Duration
				for b.Loop() {
					began := time.Now()
					passOver(body)
					between := time.Now()
					parse()
					without, with = append(without, between.Sub(began)), append(with, time.Since(between))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(median(without)), "ns/without")
				b.ReportMetric(float64(median(with)), "ns/with")
				b.ReportMetric(testing.AllocsPerRun(10, func() { passOver(body) }), "allocs/without")
				b.ReportMetric(testing.AllocsPerRun(10, parse), "allocs/with")
			})
		}
	}
}

// bodyWithIDs is a request of about so many KB that names so many items.
func bodyWithIDs(kilobytes, ids int) []byte {
	const sentence = "The quick brown fox jumps over the lazy dog, and then it sleeps. "
	var items []string
	for i := range ids {
		items = append(items, fmt.Sprintf(`{"type":"item_reference","id":"msg_%032d"}`, i))
	}
	prose := strings.Repeat(sentence, 1+kilobytes<<10/len(sentence))
	items = append(items, fmt.Sprintf(`{"role":"user","content":%q}`, prose[:kilobytes<<10]))
	return []byte(`{"model":"gpt-4o","input":[` + strings.Join(items, ",") + `]}`)
}

// passOver reads a body as [Parse] does, and watches nothing.
func passOver(body []byte) {
	for it := jsonscan.Iterate(body, 0); it.Next(); {
		end, _, _ := jsonscan.MeasureWatched(body, it.Offset, nil)
		it.SkipTo(end)
	}
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
