def test_x(api): 
    print(api.get("/api/v1/admin/credits/overview").body)
    e=api.new_user()
    a=api.charge(e); print(a.status,a.body)
    print(api.get("/api/v1/admin/credits/users",limit=1).body)
