package providers

// Short names, which the types below are put together from.
type (
	r = retriedReader
	b = retriedBatches
	f = retriedFinder
	m = retriedMetadata
	w = retriedWriter
)

// retried is a Reader with tries, and what else it can do; nil fields are what
// it cannot.
type retried struct {
	r
	b
	f
	m
	w
}

// reader returns to with tries. It can do what to can and no more: callers ask
// with a type assertion, so there is a type for each set of abilities.
func (t Retries) reader(to Reader) Reader {
	all := retried{r: r{to, t}}
	batches, isBatch := to.(BatchReader)
	finder, isFinder := to.(Finder)
	metadata, isMetadata := to.(MetadataReader)
	writer, isWriter := to.(Writer)
	all.b, all.f, all.m, all.w = b{batches, t}, f{finder, t}, m{metadata, t}, w{writer, t}
	if isBatch {
		return all.withBatches(isFinder, isMetadata, isWriter)
	}
	return all.withoutBatches(isFinder, isMetadata, isWriter)
}

func (a retried) withBatches(finder, metadata, writer bool) Reader {
	switch [3]bool{finder, metadata, writer} {
	case [3]bool{true, true, true}:
		return struct {
			r
			b
			f
			m
			w
		}{a.r, a.b, a.f, a.m, a.w}
	case [3]bool{true, true, false}:
		return struct {
			r
			b
			f
			m
		}{a.r, a.b, a.f, a.m}
	case [3]bool{true, false, true}:
		return struct {
			r
			b
			f
			w
		}{a.r, a.b, a.f, a.w}
	case [3]bool{true, false, false}:
		return struct {
			r
			b
			f
		}{a.r, a.b, a.f}
	case [3]bool{false, true, true}:
		return struct {
			r
			b
			m
			w
		}{a.r, a.b, a.m, a.w}
	case [3]bool{false, true, false}:
		return struct {
			r
			b
			m
		}{a.r, a.b, a.m}
	case [3]bool{false, false, true}:
		return struct {
			r
			b
			w
		}{a.r, a.b, a.w}
	}
	return struct {
		r
		b
	}{a.r, a.b}
}

func (a retried) withoutBatches(finder, metadata, writer bool) Reader {
	switch [3]bool{finder, metadata, writer} {
	case [3]bool{true, true, true}:
		return struct {
			r
			f
			m
			w
		}{a.r, a.f, a.m, a.w}
	case [3]bool{true, true, false}:
		return struct {
			r
			f
			m
		}{a.r, a.f, a.m}
	case [3]bool{true, false, true}:
		return struct {
			r
			f
			w
		}{a.r, a.f, a.w}
	case [3]bool{true, false, false}:
		return struct {
			r
			f
		}{a.r, a.f}
	case [3]bool{false, true, true}:
		return struct {
			r
			m
			w
		}{a.r, a.m, a.w}
	case [3]bool{false, true, false}:
		return struct {
			r
			m
		}{a.r, a.m}
	case [3]bool{false, false, true}:
		return struct {
			r
			w
		}{a.r, a.w}
	}
	return a.r
}
