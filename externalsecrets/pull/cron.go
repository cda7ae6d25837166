package pull

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// schedule is a line of cron, in UTC: for each field the set of values that
// match, as bits.
type schedule struct {
	minute, hour, day, month, weekday uint64
	anyDay, anyWeekday                bool

	every time.Duration // of @every, in place of all fields; 0 if it is not one
}

// descriptors are the schedules with a name.
var descriptors = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

var (
	monthNames   = strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")
	weekdayNames = strings.Fields("sun mon tue wed thu fri sat")
)

// shortest is the least that @every takes: what cron can say, too.
const shortest = time.Minute

// parseSchedule reads five fields, one of the descriptors, or @every and a
// duration, which counts from the first of January 1970: the peer counts from
// whenever it looks, and so never finds an edge.
func parseSchedule(text string) (*schedule, error) {
	if duration, ok := strings.CutPrefix(strings.TrimSpace(text), "@every "); ok {
		every, err := time.ParseDuration(strings.TrimSpace(duration))
		if err != nil || every < shortest {
			return nil, fmt.Errorf("%q: @every takes a duration of %s or more, such as @every 2h", text, shortest)
		}
		return &schedule{every: every}, nil
	}
	if line, ok := descriptors[strings.TrimSpace(text)]; ok {
		text = line
	}
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return nil, fmt.Errorf("%q is neither five fields of cron, in UTC, nor a descriptor such as @daily", text)
	}
	s := &schedule{anyDay: fields[2][0] == '*', anyWeekday: fields[4][0] == '*'}
	for i, f := range []struct {
		into     *uint64
		low, top int
		names    []string
	}{
		{&s.minute, 0, 59, nil}, {&s.hour, 0, 23, nil}, {&s.day, 1, 31, nil}, {&s.month, 1, 12, monthNames}, {&s.weekday, 0, 7, weekdayNames},
	} {
		bits, err := parseField(fields[i], f.low, f.top, f.names)
		if err != nil {
			return nil, fmt.Errorf("field %d, %q: %w", i+1, fields[i], err)
		}
		*f.into = bits
	}
	if s.weekday&(1<<7) != 0 { // Sunday, too
		s.weekday |= 1
	}
	return s, nil
}

// parseField reads a list of ranges with steps.
func parseField(text string, low, top int, names []string) (bits uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		from, to, err := parseSpan(span, low, top, names)
		if err != nil {
			return 0, err
		}
		step, err := parseStep(stepText, stepped)
		if err != nil {
			return 0, err
		}
		if stepped && from == to {
			to = top
		}
		if from < low || to > top || from > to {
			return 0, fmt.Errorf("a value is between %d and %d", low, top)
		}
		for v := from; v <= to; v += step {
			bits |= 1 << v
		}
	}
	return bits, nil
}

func parseStep(text string, there bool) (int, error) {
	if !there {
		return 1, nil
	}
	step, err := strconv.Atoi(text)
	if err != nil || step < 1 {
		return 0, errors.New("a step is a number above 0")
	}
	return step, nil
}

// parseSpan reads *, a value or a range.
func parseSpan(text string, low, top int, names []string) (from, to int, err error) {
	if text == "*" {
		return low, top, nil
	}
	first, last, ranged := strings.Cut(text, "-")
	if from, err = value(first, low, names); err != nil || !ranged {
		return from, from, err
	}
	to, err = value(last, low, names)
	return from, to, err
}

func value(text string, low int, names []string) (int, error) {
	for i, name := range names {
		if strings.EqualFold(text, name) {
			return i + low, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, errors.New("a value is a number")
	}
	return n, nil
}

// years is how far next looks ahead: the 29th of February comes at least once
// in eight years.
const years = 9

// next is the first match after t; the zero time if there is none.
func (s *schedule) next(t time.Time) time.Time {
	if s.every > 0 {
		past := time.Duration(t.UnixNano()) % s.every
		return t.UTC().Add(s.every - past)
	}
	t = t.UTC().Truncate(time.Minute).Add(time.Minute)
	for end := t.AddDate(years, 0, 0); t.Before(end); {
		switch {
		case s.month&(1<<t.Month()) == 0:
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !s.onDay(t):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case s.hour&(1<<t.Hour()) == 0:
			t = t.Truncate(time.Hour).Add(time.Hour)
		case s.minute&(1<<t.Minute()) == 0:
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

// onDay follows cron: if both fields are restricted, either may match.
func (s *schedule) onDay(t time.Time) bool {
	day, weekday := s.day&(1<<t.Day()) != 0, s.weekday&(1<<t.Weekday()) != 0
	if s.anyDay || s.anyWeekday {
		return day && weekday
	}
	return day || weekday
}
