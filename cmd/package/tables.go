// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
)

// definitions turns Markdown's tables into lists of terms with their definitions, because a terminal is too narrow for the tables:
// the first column is the term, the second its meaning, and others are added by their title.
func definitions(markdown string) string {
	var out, head []string
	for _, line := range strings.Split(markdown, "\n") {
		cells := row(line)
		switch {
		case cells == nil:
			out, head = append(out, line), nil
		case head == nil:
			head = cells
		case !separator.MatchString(line):
			out = append(out, definition(head, cells)...)
		}
	}
	return strings.Join(out, "\n")
}

var (
	separator = regexp.MustCompile(`^\|[-|: ]+\|$`)
	column    = regexp.MustCompile(`\s*\|\s*`)
)

// row returns the cells of a table's line, nil for other lines.
func row(line string) []string {
	if !strings.HasPrefix(line, "| ") && !separator.MatchString(line) {
		return nil
	}
	return column.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), -1)
}

// definition is one term. A cell without an answer has nothing to add.
func definition(head, cells []string) []string {
	if len(cells) < 2 {
		return cells
	}
	meaning := strings.TrimSpace(cells[1])
	for i := 2; i < len(cells) && i < len(head); i++ {
		if c := strings.TrimSpace(cells[i]); c != "" {
			if c != "required" { // an answer of its own
				c = strings.TrimSpace(head[i]) + ": " + c
			}
			meaning = strings.TrimRight(meaning, ".;") + "; " + c
		}
	}
	return []string{strings.TrimSpace(cells[0]), ": " + meaning, ""}
}
