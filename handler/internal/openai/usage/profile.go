package usage

import "time"

// Sample is what one answer whose usage the backend reported took.
type Sample struct {
	Choices     int64         // that were asked for; 0 = 1
	PromptBytes int64         // of the request, as counted before it was sent
	Tokens      Tokens        // as reported
	TextBytes   int64         // of the answer that were relayed; 0 = not counted
	Duration    time.Duration // from the beginning of the attempt to its end
	FirstToken  time.Duration // from the same beginning; 0 = not known
}

// profileSize is how many answers a profile remembers.
const profileSize = 50

// Profile is what the last answers of one kind took: those of one consumer,
// model and kind of call. The zero Profile knows nothing. It is not safe for
// concurrent use.
type Profile struct {
	samples [profileSize]Sample
	count   int
	sum     profileSums
}

// profileSums are the sums of the remembered samples.
type profileSums struct {
	promptBytes, prompt     int64 // of what the body shows
	hidden, prompts         int64
	choices                 int64
	completion, reasoning   int64
	textBytes, textTokens   int64 // of answers whose text was counted, without hidden reasoning
	active, idle            time.Duration
	activeTokens, idleCount int64
	longActive              time.Duration // of answers of some length
	longTokens              int64
}

// longAnswer is how many tokens make an answer whose duration tells how fast tokens
// are generated.
const longAnswer = 64

// Add remembers an answer, and forgets the oldest of more than fifty.
func (p *Profile) Add(s Sample) {
	slot := &p.samples[p.count%profileSize]
	if p.count >= profileSize {
		p.sum.add(slot, -1)
	}
	*slot = s
	p.sum.add(slot, 1)
	p.count++
}

func (s *profileSums) add(x *Sample, sign int64) {
	s.choices += sign * max(1, x.Choices)
	s.completion += sign * x.Tokens.Completion
	s.reasoning += sign * x.Tokens.Reasoning
	if x.PromptBytes > 0 && x.Tokens.Prompt > 0 {
		shown := min(x.Tokens.Prompt, MostTokens(x.PromptBytes))
		s.promptBytes += sign * x.PromptBytes
		s.prompt += sign * shown
		s.hidden += sign * (x.Tokens.Prompt - shown)
		s.prompts += sign
	}
	visible := x.Tokens.Completion - x.Tokens.Reasoning
	if x.TextBytes > 0 && visible > 0 {
		s.textBytes += sign * x.TextBytes
		s.textTokens += sign * visible
	}
	idle := x.idle()
	if active := x.Duration - idle; active > 0 && x.Tokens.Completion > 0 {
		s.active += time.Duration(sign) * active
		s.activeTokens += sign * x.Tokens.Completion
		s.idle += time.Duration(sign) * idle
		s.idleCount += sign
		if x.Tokens.Completion >= longAnswer {
			s.longActive += time.Duration(sign) * active
			s.longTokens += sign * x.Tokens.Completion
		}
	}
}

// idle is the time before tokens are generated: hidden reasoning begins at once.
func (x *Sample) idle() time.Duration {
	if x.Tokens.Reasoning > 0 {
		return 0
	}
	return min(x.FirstToken, x.Duration)
}

// Expectation is what the next answer of a kind is expected to take. The zero
// Expectation knows nothing.
type Expectation struct {
	Answers         int           // how many it is the mean of
	Output          int64         // completion tokens of each choice, reasoning included
	Reasoning       int64         // of Output
	PromptPerByte   float64       // tokens; 0 = not known
	HiddenPrompt    int64         // tokens of what the body only names, such as an earlier response
	TextPerByte     float64       // tokens per byte of relayed text; 0 = not known
	TokensPerSecond float64       // once the first is generated; 0 = not known
	Speed           float64       // tokens per second of answers of some length; 0 = there was none
	Idle            time.Duration // until the first is generated
}

// Expect returns the means of the remembered answers.
func (p *Profile) Expect() Expectation {
	n := min(p.count, profileSize)
	if n == 0 {
		return Expectation{}
	}
	e := Expectation{Answers: n, Output: divide(p.sum.completion, p.sum.choices), Reasoning: divide(p.sum.reasoning, p.sum.choices)}
	if p.sum.promptBytes > 0 {
		e.PromptPerByte = float64(p.sum.prompt) / float64(p.sum.promptBytes)
		e.HiddenPrompt = divide(p.sum.hidden, p.sum.prompts)
	}
	if p.sum.textBytes > 0 {
		e.TextPerByte = float64(p.sum.textTokens) / float64(p.sum.textBytes)
	}
	if p.sum.active > 0 {
		e.TokensPerSecond = float64(p.sum.activeTokens) / p.sum.active.Seconds()
		if p.sum.longActive > 0 {
			e.Speed = float64(p.sum.longTokens) / p.sum.longActive.Seconds()
		}
		e.Idle = p.sum.idle / time.Duration(p.sum.idleCount)
	}
	return e
}

// divide rounds to the nearest whole number.
func divide(a, b int64) int64 { return (a + b/2) / b }

// What is assumed while nothing is known: four bytes of English are a token, and
// a busy deployment generates about fifty tokens a second. None generates more than
// five hundred: an answer that arrived faster was held back somewhere.
const (
	defaultPerByte   = 0.25
	defaultPerSecond = 50
	fastestPerSecond = 500
)

// MostTokens is the most tokens that so many bytes of text have that was not made for
// it: Chinese has two to three bytes a token, digits three, base64 two.
func MostTokens(bytes int64) int64 { return (bytes + 1) / 2 }

// Prompt is the expected size of a prompt of so many bytes, and of what it names.
func (e *Expectation) Prompt(bytes int64) int64 {
	return add(count(float64(bytes)*orDefault(e.PromptPerByte, defaultPerByte)), e.HiddenPrompt)
}

// Text is the expected number of tokens of so many bytes of an answer.
func (e *Expectation) Text(bytes int64) int64 {
	return count(float64(bytes) * orDefault(e.TextPerByte, defaultPerByte))
}

// Generated is how many tokens an attempt is expected to have generated after so
// long. With a first token, that instant is known and not estimated, unless the
// answers have hidden reasoning before it.
func (e *Expectation) Generated(elapsed, firstToken time.Duration) int64 {
	idle := e.Idle
	if firstToken > 0 && (e.Answers == 0 || e.Idle > 0) {
		idle = firstToken
	}
	active := max(0, elapsed-idle)
	return count(active.Seconds() * e.rate())
}

// rate is how many tokens are generated in a second. Short answers arrive at once, so
// that they can show that it is less than usual, not that it is more.
func (e *Expectation) rate() float64 {
	if e.Speed > 0 {
		return min(e.Speed, fastestPerSecond)
	}
	return min(orDefault(e.TokensPerSecond, defaultPerSecond), defaultPerSecond)
}

func orDefault(x, otherwise float64) float64 {
	if x > 0 {
		return x
	}
	return otherwise
}

// count rounds a number of tokens, which cannot be more than any answer has.
func count(x float64) int64 {
	switch {
	case !(x > 0):
		return 0
	case x >= maxTokens:
		return maxTokens
	}
	return int64(x + 0.5)
}
