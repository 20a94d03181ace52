package metering

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"
	"strconv"
	"sync"
	"time"

	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore"
)

// sharedMeans is what the whole fleet knows of the size of answers, one row for
// each consumer: an instance that has just started, or is called seldom, need not
// learn it by itself. Nothing waits for it, and what is lost is learned again. It
// is safe for concurrent use.
type sharedMeans struct {
	store tablestore.Store // nil = nothing is shared

	mu   sync.Mutex
	rows map[string]*sharedRow // by consumer
}

// sharedRow is a consumer's row, as last read.
type sharedRow struct {
	means     map[string]sharedMean // by column
	readAt    time.Time
	writtenAt time.Time
	next      time.Time // before which there is no exchange: the last one failed
	busy      bool      // an exchange is in flight
}

// sharedMean is the mean size of an answer.
type sharedMean struct {
	Output  int64 `json:"o"`
	Answers int64 `json:"n"` // that it is known from

	Speed float64 `json:"s,omitempty"` // of usage.Expectation
}

const (
	sharedKey      = "expect"
	sharedTimeout  = 500 * time.Millisecond
	sharedRefresh  = 200 * time.Millisecond // the age at which the row is read again by who does not know enough
	sharedRetry    = 2 * time.Second        // after an exchange that failed
	sharedInterval = time.Minute            // between two writes of one instance, once enough is known
)

// columnOf is where a kind's mean is, streamed or not.
func columnOf(k profileKey) string {
	h := fnv.New64a()
	for _, part := range [...]string{strconv.Itoa(len(k.model)), ":", k.model, "|", k.operation} {
		_, _ = io.WriteString(h, part)
	}
	return "m_" + hex.EncodeToString(h.Sum(nil))
}

// mean returns what the fleet knows of a kind, and reads the row in the background
// when that is not enough.
func (s *sharedMeans) mean(k profileKey) sharedMean {
	if s.store == nil || k.consumer == "" {
		return sharedMean{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.row(k.consumer)
	known := row.means[columnOf(k)]
	if known.Answers < certainAnswers && row.free() && time.Since(row.readAt) >= sharedRefresh {
		row.busy = true
		go s.exchange(k, nil)
	}
	return known
}

func (s *sharedMeans) row(consumer string) *sharedRow {
	if s.rows == nil {
		s.rows = map[string]*sharedRow{}
	}
	if s.rows[consumer] == nil {
		s.rows[consumer] = &sharedRow{means: map[string]sharedMean{}}
	}
	return s.rows[consumer]
}

// learned tells the fleet of an answer while it knows few, and later when this
// instance's own mean has moved away from the shared one.
func (s *sharedMeans) learned(k profileKey, output int64, own usage.Expectation) {
	if s.store == nil || k.consumer == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.row(k.consumer)
	known := row.means[columnOf(k)]
	answer := sharedMean{Output: output, Answers: 1, Speed: own.Speed}
	if known.Answers >= certainAnswers {
		if own.Answers < certainAnswers || near(own.Output, known.Output) && (known.Speed > 0 || own.Speed <= 0) || time.Since(row.writtenAt) < sharedInterval {
			return
		}
		answer = sharedMean{Output: own.Output, Answers: certainAnswers, Speed: own.Speed}
	}
	if row.free() {
		row.busy, row.writtenAt = true, time.Now()
		go s.exchange(k, &answer)
	}
}

// free reports whether an exchange may begin.
func (r *sharedRow) free() bool { return !r.busy && !time.Now().Before(r.next) }

// near reports whether two means differ by less than a quarter.
func near(a, b int64) bool { return 4*max(a-b, b-a) <= max(a, b) }

// exchange reads a consumer's row and adds an answer to it. Of two instances that
// do so at once, one is lost: the mean is as good without it.
func (s *sharedMeans) exchange(k profileKey, answer *sharedMean) {
	ctx, cancel := context.WithTimeout(context.Background(), sharedTimeout)
	defer cancel()
	partition, column := "q|"+tablestore.EncodeKey(k.consumer), columnOf(k)
	stored, _, err := s.store.Get(ctx, partition, sharedKey)
	if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
		s.failed(k.consumer)
		return
	}
	means := map[string]sharedMean{}
	for name, text := range stored.Columns {
		var m sharedMean
		if json.Unmarshal([]byte(text), &m) == nil && m.Answers > 0 && m.Output >= 0 && m.Output <= maxTokens {
			means[name] = m
		}
	}
	if answer != nil {
		means[column] = means[column].add(*answer)
		text, _ := json.Marshal(means[column])
		_, _, _ = s.store.Upsert(ctx, tablestore.Row{Partition: partition, Key: sharedKey, Columns: map[string]string{column: string(text)}})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.row(k.consumer)
	row.means, row.readAt, row.busy = means, time.Now(), false
}

// failed has what is known stand, and the next exchange wait: while the table is away,
// each answer would make one.
func (s *sharedMeans) failed(consumer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.row(consumer)
	row.busy, row.next = false, time.Now().Add(sharedRetry)
}

// add returns the mean with another one: the sum of few, and the newer one when it
// is known from enough answers.
func (m sharedMean) add(o sharedMean) sharedMean {
	switch {
	case o.Speed <= 0:
		o.Speed = m.Speed
	case m.Speed > 0 && o.Answers < certainAnswers:
		o.Speed = (m.Speed*float64(m.Answers) + o.Speed) / float64(m.Answers+1)
	}
	if o.Answers >= certainAnswers {
		return o
	}
	n := m.Answers + o.Answers
	return sharedMean{Output: (m.Output*m.Answers + o.Output*o.Answers) / n, Answers: n, Speed: o.Speed}
}
