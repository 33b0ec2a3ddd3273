variable "name" {
  description = "Name of the cluster, which Karpenter looks for in karpenter.sh/discovery."
  type        = string
}

variable "region" {
  type = string
}

variable "zones" {
  description = "Availability zones, at most seven."
  type        = list(string)
  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 7
    error_message = "EKS needs two zones at least, and the address plan has room for seven."
  }
}

variable "cidr" {
  type    = string
  default = "10.0.0.0/16"
}
