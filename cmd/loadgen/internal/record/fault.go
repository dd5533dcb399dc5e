// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"syscall"
)

// OwnFault reports whether an attempt failed because this machine lacked something (file descriptors, ports, memory), so
// that nothing was tried: such an attempt is of the class results.ErrOther.
func OwnFault(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
