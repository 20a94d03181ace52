package lease

import "time"

// Period is how long a limit's window lasts. Windows stand on the table
// service's clock, so all instances cut them at the same moment.
type Period uint8

// The periods. The zero Period is Minute.
const (
	Minute Period = iota // 60 s, aligned to the minute
	Month                // a calendar month, UTC
)

func (p Period) String() string {
	if p == Month {
		return "month"
	}
	return "minute"
}

// Index numbers the window that holds t. Later windows have higher numbers.
func (p Period) Index(t time.Time) int64 {
	if p == Month {
		t = t.UTC()
		return int64(t.Year())*12 + int64(t.Month()) - 1
	}
	return floorDiv(t.Unix(), 60)
}

// Ends is the first instant that no longer belongs to the window.
func (p Period) Ends(index int64) time.Time {
	if p == Month {
		next := index + 1
		return time.Date(int(floorDiv(next, 12)), time.Month(next-12*floorDiv(next, 12)+1), 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Unix((index+1)*60, 0).UTC()
}

// Begins is the first instant of the window.
func (p Period) Begins(index int64) time.Time { return p.Ends(index - 1) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
