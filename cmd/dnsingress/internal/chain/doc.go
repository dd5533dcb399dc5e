// SPDX-License-Identifier: Apache-2.0

// Package chain is the structure of records by which Kuadrant publishes the listeners of Gateways, from a host name
// by way of places and weights to addresses:
//
//	www.example.com.              300 CNAME lb-1ab1.www.example.com.
//	lb-1ab1.www.example.com.      300 CNAME ie.lb-1ab1.www.example.com.       for clients in IE, and for all others
//	ie.lb-1ab1.www.example.com.   300 CNAME 1bc1.lb-1ab1.www.example.com.     weight 100
//	ie.lb-1ab1.www.example.com.   300 CNAME aws.lb.com.                       weight 100
//	1bc1.lb-1ab1.www.example.com. 60  A     192.22.2.1
//
// Listener builds it. Merge joins what several objects say of one host, Unloop takes out what leads round in circles,
// and Collapse gives one answer in place of each chain. Names are lower case and fully qualified throughout. The
// package is pure: record sets in, record sets out.
package chain
