package fetch

// ListPages is how many pages of a list of versions may be looked at in place
// of reads that go size at a time; 0 if it is better to read. A list is worth
// it at half of what the reads cost, at most: what has changed is read besides.
// held is how many pages the store had when it was last listed; 0 if that is
// not known, and then the list is given up after as many as may be.
func ListPages(reads, size, held int) int {
	most := (reads + size - 1) / size / 2
	if held > most {
		return 0
	}
	return most
}
