package metering

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

// generated is an answer with what its backend would have reported at a cut.
type generated struct {
	result *proxy.Result
	tokens int64
}

// cutKind is a kind of answers.
type cutKind struct {
	operation string
	stream    bool
	reasoning int64 // tokens, on average
	calls     bool  // every second one is a call of a tool, whose arguments have 2 to 3 bytes a token
	most      float64
}

// cutAnswer is an answer that is cut after a random part of it. Tokens have 3 to 5
// bytes, a second has 40 to 60 of them, and thought comes before the text. An image has
// one of four sizes, and 60 to 200 tokens a second.
func cutAnswer(random *rand.Rand, k *cutKind) (whole proxy.Delivery, took time.Duration, cut generated) {
	stream, reasoning := k.stream, k.reasoning
	visible := int64(20 + 800*random.Float64()*random.Float64())
	perByte, speed := 1/(3+2*random.Float64()), 40+20*random.Float64()
	if k.calls && random.IntN(2) == 0 {
		perByte = 1 / (2 + random.Float64())
	}
	if k.operation == "images" {
		visible, speed = []int64{272, 1056, 1568, 4160}[random.IntN(4)], 60+140*random.Float64()
	}
	idle := 300 * time.Millisecond
	seconds := func(tokens int64) time.Duration { return time.Duration(float64(tokens) / speed * 1e9) }
	thought := reasoning/2 + random.Int64N(reasoning+1)
	first := idle + seconds(thought)
	took = first + seconds(visible)
	whole = proxy.Delivery{Usage: usage.Tokens{Prompt: 100, Completion: visible + thought, Reasoning: thought}}
	cutAt := time.Duration(random.Float64() * float64(took))
	cut.tokens = int64(max(0, cutAt-idle).Seconds() * speed)
	if !stream || cutAt <= first {
		cut.result = ended(mini, abandoned(&mini.Backends[0], "caller left", cutAt))
	} else {
		bytes := float64(cut.tokens-thought) / perByte
		cut.result = served(mini, cutAt, proxy.Delivery{Broken: true, TextBytes: int64(bytes), FirstToken: began.Add(first)})
	}
	if stream {
		whole.TextBytes, whole.FirstToken = int64(float64(visible)/perByte), began.Add(first)
	}
	return whole, took, cut
}

// The error of the estimate over a thousand cut requests of each kind: in the sum,
// and of the worst one.
func TestErrorOfTheEstimate(t *testing.T) {
	for name, c := range map[string]cutKind{
		"streamed text":            {operation: "chat", stream: true, most: 10},
		"streamed, with reasoning": {operation: "chat", stream: true, reasoning: 400, most: 10},
		"streamed, calls of tools": {operation: "chat", stream: true, calls: true, most: 15},
		"plain":                    {operation: "chat", most: 10},
		"plain, with reasoning":    {operation: "chat", reasoning: 400, most: 10},
		"plain, calls of tools":    {operation: "chat", calls: true, most: 10},
		"images":                   {operation: "images", most: 20},
	} {
		bubble(t, name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(5, 1))
			m := New(nil, nil, nil)
			request := func() *proxy.Request {
				r := chat(c.stream, 400, 0)
				r.Operation = *operations.ByName(c.operation)
				return r
			}
			var real, estimated, worst float64
			for range 1000 {
				whole, took, cut := cutAnswer(random, &c)
				m.Settle(nil, request(), served(mini, took, whole))
				charges := m.Settle(nil, request(), cut.result)
				if len(charges) != 1 || !charges[0].Estimated {
					t.Fatalf("charges %+v of %+v", charges, cut.result.Attempts[0].Outcome.Class == health.Abandoned)
				}
				n := float64(charges[0].Tokens.Completion)
				real, estimated = real+float64(cut.tokens), estimated+n
				worst = max(worst, math.Abs(n-float64(cut.tokens)))
			}
			off := 100 * (estimated - real) / real
			t.Logf("%+.1f %% in the sum; the worst is off by %.0f tokens", off, worst)
			if math.Abs(off) > c.most {
				t.Errorf("the estimate is off by %+.1f %%, want at most %v", off, c.most)
			}
		})
	}
}
