// SPDX-License-Identifier: Apache-2.0

// Package handover keeps sockets open while the process behind them is replaced, so that no query meets a closed
// port and none that waits in a socket is lost.
//
// A process opens its sockets through [Sockets]. [Sockets.Restart] starts the program again, with the same arguments
// and with the same sockets; both processes then take queries from them. When the new one calls [Sockets.Ready] the
// old one has been replaced: it answers what it has taken and ends. When the new one ends before that, nothing has
// happened.
//
// Sockets that a service manager opened are taken over in the same way (sd_listen_fds(3)), and it is told of the
// process that is the service now (sd_notify(3)).
package handover
