// Package verdict knows what Azure OpenAI's answers mean: which say something
// about the backend, which are the caller's own business, which ask us to wait
// and for how long. It reads status lines, headers, bodies and the events of
// streams, and its answer is a [health.Outcome].
//
// It follows facts/azure-openai.md §3 and §4. Two habits come from there: texts
// are only the last resort, because they change; and whatever is not understood
// is passed on as it is.
//
// It does no I/O and decides nothing: what happens after an outcome is for
// others to say.
package classify

import "time"

// Policy is how answers of one backend are judged. The zero Policy is the
// default of every setting.
type Policy struct {
	DefaultWait time.Duration         // of a 429 that names no wait; 0 = 10 s
	MaxWait     time.Duration         // no wait is longer; 0 = 5 min
	IgnoreWaits bool                  // every wait is DefaultWait, whatever the answer says
	Provisioned bool                  // the backend is a provisioned deployment: its waits are exact
	CallerAuth  bool                  // the caller's own credential was sent: a 401 or 403 is about that, not about the backend
	Failing     func(status int) bool // which statuses are failures; nil = 500–599 and 408
}

func (p *Policy) failing(status int) bool {
	if p.Failing != nil {
		return p.Failing(status)
	}
	return status >= 500 && status <= 599 || status == 408
}

func (p *Policy) defaultWait() time.Duration {
	if p.DefaultWait > 0 {
		return min(p.DefaultWait, p.maxWait())
	}
	return min(10*time.Second, p.maxWait())
}

func (p *Policy) maxWait() time.Duration {
	if p.MaxWait > 0 {
		return p.MaxWait
	}
	return 5 * time.Minute
}
