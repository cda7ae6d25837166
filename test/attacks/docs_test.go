package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPage wants a line for each class and fault on the page, with tests that
// are there.
func TestPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([KR]\d+) \| .* \| (.*) \|$`).FindAllStringSubmatch(string(page), -1) {
		rows[row[1]] = row[2]
	}
	var want []string
	for i := 1; i <= 9; i++ {
		want = append(want, fmt.Sprintf("K%d", i))
	}
	for i := 7; i <= 12; i++ {
		want = append(want, fmt.Sprintf("R%d", i))
	}
	for _, id := range want {
		tests := 0
		folder := ""
		for word := range strings.SplitSeq(rows[id], " ") {
			word = strings.Trim(word, ",")
			if dir := strings.Trim(word, "`"); dir != word {
				folder = dir
				continue
			}
			tests++
			if !contains(t, folder, "func "+word+"(t *testing.T)") {
				t.Errorf("%s: %s has no %s", id, folder, word)
			}
		}
		if tests == 0 {
			t.Errorf("%s has no test", id)
		}
	}
	for _, name := range regexp.MustCompile(`func (Test[KR]\d+\w*)\(`).FindAllStringSubmatch(sources(t, "test/attacks"), -1) {
		if !strings.Contains(string(page), name[1]) {
			t.Errorf("%s is not on the page", name[1])
		}
	}
}

func contains(t *testing.T, folder, text string) bool {
	t.Helper()
	return strings.Contains(sources(t, folder), text)
}

// sources are the tests of a folder, as one text.
func sources(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(folder), "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no tests: %v", folder, err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
