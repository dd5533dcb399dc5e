// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"fmt"
	"strings"
)

// keyParser reads the words of a key file.
type keyParser struct {
	path  string
	keys  Keys
	words []word
	last  word // the one before words
	errs  []error
}

type word struct {
	text         string
	line, column int
}

func (p *keyParser) fault(at word, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s:%d:%d: %w", p.path, at.line, at.column, fmt.Errorf(format, args...)))
}

// split takes a text apart into words; braces and semicolons are words, quotes are taken off.
func (p *keyParser) split(text string) {
	for i, line := range strings.Split(text, "\n") {
		for at := 0; at < len(line); {
			w := word{line: i + 1, column: at + 1}
			switch c := line[at]; {
			case c == ' ' || c == '\t' || c == '\r':
				at++
				continue
			case c == '#' || strings.HasPrefix(line[at:], "//") && !p.secret(line[at:]):
				at = len(line)
				continue
			case c == '{' || c == '}' || c == ';':
				w.text = line[at : at+1]
				at++
			case c == '"':
				end := strings.IndexByte(line[at+1:], '"')
				if end < 0 {
					p.fault(w, "the quote is not closed")
					at = len(line)
					continue
				}
				w.text = line[at+1 : at+1+end]
				at += end + 2
			default:
				end := strings.IndexAny(line[at:], " \t\r{};\"#")
				if end < 0 {
					end = len(line) - at
				}
				w.text = line[at : at+end]
				at += end
			}
			p.words = append(p.words, w)
		}
	}
}

// secret tells whether what begins with // is a secret in base64, which may, and not a comment.
func (p *keyParser) secret(text string) bool {
	return len(p.words) > 0 && p.words[len(p.words)-1].text == "secret" && len(text) > 2 && !strings.ContainsRune(" \t\r", rune(text[2]))
}

// next takes a word, which must be the given one unless that is "".
func (p *keyParser) next(want string) (word, bool) {
	if len(p.words) == 0 {
		p.fault(p.last, "the file ends in the middle of a key (hint: key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; };)")
		return word{}, false
	}
	w := p.words[0]
	p.words, p.last = p.words[1:], w
	if want != "" && w.text != want {
		p.fault(w, "here should be %q", want)
		return w, false
	}
	return w, true
}

// statement reads BIND's key statement. After a mistake it goes on behind the brace that ends it.
func (p *keyParser) statement() {
	p.next("key")
	name, ok := p.next("")
	if !ok {
		return
	}
	if _, ok := p.next("{"); !ok {
		p.skip()
		return
	}
	values := map[string]string{}
	for {
		what, ok := p.next("")
		if !ok {
			return
		}
		if what.text == "}" {
			break
		}
		if what.text != "algorithm" && what.text != "secret" {
			p.fault(what, "a key has algorithm and secret alone")
			p.skip()
			return
		}
		value, ok := p.next("")
		if !ok {
			return
		}
		values[what.text] = value.text
		if _, ok := p.next(";"); !ok {
			p.skip()
			return
		}
	}
	if len(p.words) > 0 && p.words[0].text == ";" {
		p.next(";")
	}
	for _, part := range []string{"algorithm", "secret"} {
		if _, ok := values[part]; !ok {
			p.fault(name, "the key has no %s", part)
			return
		}
	}
	p.add(name, name.text, values["algorithm"], values["secret"])
}

// skip goes behind the next closing brace.
func (p *keyParser) skip() {
	for len(p.words) > 0 {
		w, _ := p.next("")
		if w.text == "}" {
			if len(p.words) > 0 && p.words[0].text == ";" {
				p.next(";")
			}
			return
		}
	}
}

// line reads NAME:ALGORITHM:BASE64.
func (p *keyParser) line(w word) {
	parts := strings.Split(w.text, ":")
	if len(parts) != 3 {
		p.fault(w, "this is no key (hint: key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; }; or NAME:hmac-sha256:BASE64)")
		return
	}
	p.add(w, parts[0], parts[1], parts[2])
}

func (p *keyParser) add(at word, name, algorithm, secret string) {
	k, err := NewKey(name, algorithm, secret)
	switch {
	case err != nil:
		p.fault(at, "%w", err)
	case p.keys[k.Name] != nil:
		p.fault(at, "a key of this name is there before")
	default:
		p.keys[k.Name] = k
	}
}
