// Contour, the control plane of the Envoy baseline, in a module of its own: its dependencies stay out of the product's.
module github.com/dnsingress/dnsingress/tools/contour

go 1.26.0

tool github.com/projectcontour/contour/cmd/contour

require github.com/projectcontour/contour v1.33.8
