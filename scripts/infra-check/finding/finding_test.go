package finding

import "testing"

func TestTheSameFindingIsToldOnce(t *testing.T) {
	t.Parallel()
	var l List
	l.Add("c", "b:1", "m %d", 1)
	l.Add("c", "a:2", "m")
	l.Add("c", "b:1", "m %d", 1)
	if got := l.Sorted(); len(got) != 2 || got[0].Where != "a:2" {
		t.Errorf("%v", got)
	}
}
