package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/handler/config/strict"
)

// rule carries the first rule over; Spillway has one for all backends, and it
// is not about 429.
func (p *apim) rule(rule *value) {
	condition := rule.at("failureCondition")
	text := strings.Join([]string{
		condition.at("count").scalar(), condition.at("percentage").scalar(), condition.at("interval").scalar(),
		rule.at("tripDuration").scalar(), fmt.Sprint(ranges(condition)),
	}, " ")
	switch p.breaker {
	case text:
		return
	case "":
		p.breaker = text
	default:
		p.lost("%s: circuitBreaker is the same for all backends, and another rule came first", rule.path)
		return
	}
	p.throttling(rule, condition)
	b := &p.Document.CircuitBreaker
	if n, err := strconv.Atoi(condition.at("count").scalar()); err == nil && n > 0 && len(ranges(condition)) > 0 {
		b.Failures = n
	}
	if n, err := strconv.Atoi(condition.at("percentage").scalar()); err == nil && n > 0 && n <= 100 {
		b.Percentage = n
	}
	if codes := ranges(condition); len(codes) > 0 {
		b.StatusCodes = codes
		p.duration(condition.at("interval"), &b.Interval)
		p.duration(rule.at("tripDuration"), &b.TripDuration)
		b.MaxTripDuration = max(b.MaxTripDuration, b.TripDuration)
	}
}

// throttling tells what becomes of a rule about 429.
func (p *apim) throttling(rule, condition *value) {
	all := condition.at("statusCodeRanges").all()
	if len(ranges(condition)) < len(all) || len(all) == 0 {
		p.changed("%s: 429 opens no circuit: the backend is left alone for as long as it says, else for throttle.defaultWait", rule.path)
		if len(ranges(condition)) == 0 {
			p.duration(rule.at("tripDuration"), &p.Document.Throttle.DefaultWait)
			p.Document.Throttle.MaxWait = max(p.Document.Throttle.MaxWait, p.Document.Throttle.DefaultWait)
		}
	}
	if rule.at("acceptRetryAfter").scalar() == "false" {
		p.Document.Throttle.AcceptRetryAfter = false
	}
	if reasons := condition.at("errorReasons"); reasons != nil && len(reasons.list) > 0 {
		p.changed("%s: connection errors and timeouts always count as failures", reasons.path)
	}
}

func (p *apim) duration(from *value, into *strict.Duration) {
	if from == nil {
		return
	}
	seconds, err := isoSeconds(from.text)
	if err != nil || seconds == 0 {
		p.lost("%s: %q is no duration", from.path, from.text)
		return
	}
	*into = strict.Duration(time.Duration(seconds) * time.Second)
}

// ranges is the status codes of a rule that can be failures, without 429.
func ranges(condition *value) []string {
	var codes []string
	for _, r := range condition.at("statusCodeRanges").all() {
		from, errFrom := strconv.Atoi(r.at("min").scalar())
		to, errTo := strconv.Atoi(r.at("max").scalar())
		if errFrom != nil || errTo != nil {
			continue
		}
		if from > to {
			from, to = to, from // seen in published templates, and taken by ARM
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
	slices.SortStableFunc(codes, cmp.Compare[string])
	return slices.Compact(codes)
}
