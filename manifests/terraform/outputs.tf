output "vpc_id" {
  value = aws_vpc.this.id
}

output "private_subnets" {
  description = "Zone to subnet id."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }
}

output "public_subnets" {
  value = { for zone, subnet in aws_subnet.public : zone => subnet.id }
}
