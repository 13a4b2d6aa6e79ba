"""What keeps the service in order: backups, clearing up, lost runs taken back, readiness and numbers for those who
watch it.
"""
