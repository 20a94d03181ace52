package migrate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// trip is one rule of a circuit breaker, as ARM or as Terraform writes it.
type trip struct {
	path                        string
	count, percentage           string
	interval, duration, reasons *value
	ranges                      []*value
	acceptRetryAfter            string
}

// breakers reads the rules of one backend: API Management allows one.
func (p *apim) breakers(properties *value, b *document.Backend) {
	breaker := properties.take("circuitBreaker")
	for i, rule := range slices.Concat(breaker.items("rules"), properties.items("circuit_breaker_rule")) {
		if i > 0 {
			p.notCarried("%s: a backend has one rule, and another came first", rule.path)
			continue
		}
		condition := rule.take("failureCondition")
		if list := rule.items("failure_condition"); len(list) > 0 {
			condition = list[0] // as Terraform has it
		}
		rule.ignore("name")
		p.rule(trip{
			path: rule.path, count: condition.stringAt("count"), percentage: condition.stringAt("percentage"),
			interval: either(condition, "interval", "interval_duration"), duration: either(rule, "tripDuration", "trip_duration"),
			reasons:          either(condition, "errorReasons", "error_reasons"),
			ranges:           either(condition, "statusCodeRanges", "status_code_range").all(),
			acceptRetryAfter: either(rule, "acceptRetryAfter", "accept_retry_after_enabled").scalar(),
		}, b)
		p.unsupported(rule)
		p.unsupported(condition)
	}
	p.unsupported(breaker)
}

// either takes the member of the one name or of the other.
func either(v *value, name, other string) *value {
	if m := v.take(name); m != nil {
		return m
	}
	return v.take(other)
}

// rule carries over the rule of one backend: the first rule is the pool's, and
// a backend whose rule differs from it has members of its own.
func (p *apim) rule(t trip, b *document.Backend) {
	fresh := document.New()
	breaker, throttle := fresh.CircuitBreaker, fresh.Throttle
	codes := p.codes(t)
	p.throttling(t, codes, &throttle)
	if len(codes) > 0 {
		p.failing(t, &breaker)
	}
	pool := p.Document
	if !p.ruled {
		p.ruled, pool.CircuitBreaker, pool.Throttle = true, breaker, throttle
		return
	}
	b.CircuitBreaker = pool.CircuitBreaker.Override(&breaker)
	b.Throttle = pool.Throttle.Override(&throttle)
}

// failing carries over what opens a circuit. API Management opens one at count
// or at percentage.
func (p *apim) failing(t trip, b *document.CircuitBreaker) {
	count, err := strconv.Atoi(t.count)
	if err == nil && count > 0 {
		b.Failures = count
		p.changed("%s: %d failures open the circuit only where they are %d %% of the answers or came in a row", t.path, b.Failures, b.Percentage)
	}
	if n, err := strconv.Atoi(t.percentage); err == nil && n > 0 && n <= 100 {
		b.Percentage = n
	}
	p.duration(t.interval, &b.Interval)
	p.duration(t.duration, &b.TripDuration)
	b.MaxTripDuration = max(b.MaxTripDuration, b.TripDuration)
}

// throttling reports what becomes of a rule about 429; without codes it is about
// nothing else.
func (p *apim) throttling(t trip, codes []string, into *document.Throttle) {
	if len(codes) == 0 || slices.ContainsFunc(t.ranges, about429) {
		p.changed("%s: 429 opens no circuit: the backend is skipped for as long as its answer asks, else for throttle.defaultWait", t.path)
	}
	if len(codes) == 0 {
		p.duration(t.duration, &into.DefaultWait)
		into.MaxWait = max(into.MaxWait, into.DefaultWait)
	}
	into.AcceptRetryAfter = t.acceptRetryAfter != "false"
	if t.reasons != nil && len(t.reasons.list) > 0 {
		p.changed("%s: connection errors and timeouts always count as failures", t.reasons.path)
	}
	if slices.ContainsFunc(codes, func(c string) bool { return c != "408" && c[0] != '5' }) {
		p.changed("%s: 408, 500 to 599 and redirects are failures, instead of %s", t.path, strings.Join(codes, ", "))
	}
}

func about429(r *value) bool {
	from, to, ok := bounds(r)
	return ok && from <= 429 && to >= 429
}

func (p *apim) duration(from *value, into *jsondoc.Duration) {
	if from == nil {
		return
	}
	seconds, err := isoSeconds(from.text)
	if err != nil || seconds == 0 {
		p.notCarried("%s: %q is no duration", from.path, from.text)
		return
	}
	*into = jsondoc.Duration(time.Duration(seconds) * time.Second)
}

// codes is the status codes of a rule that can be failures, without 429.
func (p *apim) codes(t trip) []string {
	var codes []string
	for _, r := range t.ranges {
		from, to, ok := bounds(r)
		p.unsupported(r)
		if !ok || to < 400 || from > 599 {
			p.notCarried("%s: only statuses from 400 to 599 are failures", r.path)
			continue
		}
		from, to = max(from, 400), min(to, 599)
		for _, part := range [][2]int{{from, min(to, 428)}, {max(from, 430), to}} {
			switch {
			case part[0] > part[1]:
			case part[0] == part[1]:
				codes = append(codes, strconv.Itoa(part[0]))
			default:
				codes = append(codes, fmt.Sprintf("%d-%d", part[0], part[1]))
			}
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// bounds are the two ends of a range; ok is false when they are no numbers.
func bounds(r *value) (from, to int, ok bool) {
	from, errFrom := strconv.Atoi(r.stringAt("min"))
	to, errTo := strconv.Atoi(r.stringAt("max"))
	if from > to {
		from, to = to, from // seen in published templates, and taken by ARM
	}
	return from, to, errFrom == nil && errTo == nil
}
